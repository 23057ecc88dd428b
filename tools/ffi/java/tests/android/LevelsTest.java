import dev.qwip.Model;
import dev.qwip.android.Levels;

/** Android's levels, as its documentation lists them. */
public final class LevelsTest {
    private LevelsTest() {}

    public static void main(String[] args) {
        int[][] pressure = {
            {5, Model.PRESSURE_MODERATE}, {10, Model.PRESSURE_MODERATE}, {15, Model.PRESSURE_CRITICAL}, {20, Model.PRESSURE_NORMAL},
            {40, Model.PRESSURE_CRITICAL}, {60, Model.PRESSURE_CRITICAL}, {80, Model.PRESSURE_CRITICAL}, {0, Model.PRESSURE_NORMAL}};
        for (int[] row : pressure) {
            same("onTrimMemory", row[0], row[1], Levels.pressure(row[0]));
        }
        int[][] thermal = {
            {0, Model.THERMAL_NOMINAL}, {1, Model.THERMAL_FAIR}, {2, Model.THERMAL_SERIOUS}, {3, Model.THERMAL_SERIOUS},
            {4, Model.THERMAL_CRITICAL}, {5, Model.THERMAL_CRITICAL}, {6, Model.THERMAL_CRITICAL}};
        for (int[] row : thermal) {
            same("thermal status", row[0], row[1], Levels.thermal(row[0]));
        }
        System.out.println("ok      Android's levels");
    }

    private static void same(String what, int level, int expected, int found) {
        if (expected != found) {
            throw new AssertionError(what + " " + level + ": expected " + expected + ", found " + found);
        }
    }
}
