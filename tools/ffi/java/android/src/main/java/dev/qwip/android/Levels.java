package dev.qwip.android;

import dev.qwip.Model;

/** Android's words for memory and heat in qwip's. Plain numbers, so that it can be tested without Android. */
public final class Levels {
    private Levels() {}

    /** What {@code ComponentCallbacks2.onTrimMemory} says, as a MEMORY constant of {@link Model}. */
    public static int memory(int trim) {
        if (trim >= 60 || trim == 15) { // TRIM_MEMORY_MODERATE, TRIM_MEMORY_COMPLETE; TRIM_MEMORY_RUNNING_CRITICAL
            return Model.MEMORY_CRITICAL;
        }
        if (trim == 20) { // TRIM_MEMORY_UI_HIDDEN: the app went out of sight, which says nothing about memory
            return Model.MEMORY_NORMAL;
        }
        return trim >= 5 ? Model.MEMORY_MODERATE : Model.MEMORY_NORMAL; // RUNNING_MODERATE, RUNNING_LOW, BACKGROUND
    }

    /** What {@code PowerManager.getCurrentThermalStatus} says, as a THERMAL constant of {@link Model}. */
    public static int thermal(int status) {
        if (status <= 0) { // THERMAL_STATUS_NONE
            return Model.THERMAL_NOMINAL;
        }
        if (status <= 2) { // LIGHT, MODERATE
            return Model.THERMAL_FAIR;
        }
        return status == 3 ? Model.THERMAL_SERIOUS : Model.THERMAL_CRITICAL; // SEVERE; CRITICAL, EMERGENCY, SHUTDOWN
    }
}
