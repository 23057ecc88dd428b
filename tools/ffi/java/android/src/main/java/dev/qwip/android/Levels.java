package dev.qwip.android;

import dev.qwip.Model;

/** Android's words for memory and heat in qwip's. Plain numbers, so that it can be tested without Android. */
public final class Levels {
    private Levels() {}

    /** What {@code ComponentCallbacks2.onTrimMemory} says, as a PRESSURE constant of {@link Model}. */
    public static int pressure(int trim) {
        if (trim == 20) { // TRIM_MEMORY_UI_HIDDEN: the app went out of sight, which says nothing about memory
            return Model.PRESSURE_NORMAL;
        }
        if (trim >= 15) { // RUNNING_CRITICAL, and what comes to apps that may be ended: BACKGROUND, MODERATE, COMPLETE
            return Model.PRESSURE_CRITICAL;
        }
        return trim >= 5 ? Model.PRESSURE_MODERATE : Model.PRESSURE_NORMAL; // RUNNING_MODERATE, RUNNING_LOW
    }

    /** What {@code PowerManager.getCurrentThermalStatus} says, as a THERMAL constant of {@link Model}. */
    public static int thermal(int status) {
        if (status <= 0) { // THERMAL_STATUS_NONE
            return Model.THERMAL_NOMINAL;
        }
        if (status == 1) { // LIGHT
            return Model.THERMAL_FAIR;
        }
        return status <= 3 ? Model.THERMAL_SERIOUS : Model.THERMAL_CRITICAL; // MODERATE, SEVERE; CRITICAL and worse
    }
}
