package dev.qwip;

/** The library as a whole. Every call may be made from any thread. */
public final class Qwip {
    /** Levels of the log. */
    public static final int LOG_ERROR = 1;
    public static final int LOG_WARN = 2;
    public static final int LOG_INFO = 3;
    public static final int LOG_DEBUG = 4;

    private Qwip() {}

    /** Takes what the library has to say. */
    public interface Log {
        /**
         * One line, on whatever thread it happens; come back soon. A listener that throws is not called again, see
         * {@link #logFailure}.
         */
        void onLog(int level, String message);
    }

    /** The version of the library, for example 0.9.0. */
    public static String version() {
        return Text.string(Native.version());
    }

    /** The version of the C interface; the glue of another version refuses to load. */
    public static int abiVersion() {
        return Native.abiVersion();
    }

    /** Whether the library was built with {@code name}: "constrain" (schemas, grammars) or "gpu". */
    public static boolean hasFeature(String name) {
        return Native.hasFeature(Text.line(name));
    }

    /** The name of a status in the C interface, for example QWIP_STATUS_BUSY. */
    public static String statusName(int status) {
        return Text.string(Native.statusName(status));
    }

    /** Sends the log up to {@code mostVerbose} to {@code log}; null: nowhere, as in the beginning. */
    public static void setLog(Log log, int mostVerbose) {
        Native.setLogListener(log, mostVerbose);
    }

    /** What the last listener of the log threw, or null. */
    public static Throwable logFailure() {
        return Native.logFailure();
    }
}
