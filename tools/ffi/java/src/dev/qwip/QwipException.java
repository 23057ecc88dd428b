package dev.qwip;

import java.nio.charset.StandardCharsets;

/** A call that failed: one of the library's status codes and one line that says what was wrong. */
public final class QwipException extends RuntimeException {
    /** A value out of range, broken JSON, text that is no Unicode or has a NUL where none may be. */
    public static final int INVALID_ARGUMENT = 1;
    /** The object is closed. */
    public static final int INVALID_HANDLE = 2;
    /** Not loaded yet, already started, or a setting that comes too late. */
    public static final int WRONG_STATE = 3;
    /** Another call uses the session. */
    public static final int BUSY = 4;
    /** Somebody cancelled the call. */
    public static final int CANCELLED = 5;
    /** The time is over. */
    public static final int TIMEOUT = 6;
    /** There are no more events. */
    public static final int DONE = 7;
    /** No such file or metadata key. */
    public static final int NOT_FOUND = 8;
    /** The file could not be read or written. */
    public static final int IO = 9;
    /** The file is damaged or no model. */
    public static final int INVALID_MODEL = 10;
    /** Architecture, task, platform or feature that this build does not have. */
    public static final int UNSUPPORTED = 11;
    /** The memory limit or the system's memory. */
    public static final int OUT_OF_MEMORY = 12;
    /** The session's context is full. */
    public static final int CONTEXT_FULL = 13;
    /** An array is too small. */
    public static final int BUFFER_TOO_SMALL = 14;
    /** New work while the model is in the background. */
    public static final int BACKGROUND = 15;
    /** A defect of the library; the object is still valid. */
    public static final int INTERNAL = 16;

    private static final long serialVersionUID = 1L;

    private final int status;

    QwipException(int status, String message) {
        super(message);
        this.status = status;
    }

    /** Called by the glue, with the message in UTF-8. */
    QwipException(int status, byte[] message) {
        this(status, new String(message, StandardCharsets.UTF_8));
    }

    /** One of this class's constants. */
    public int status() {
        return status;
    }

    @Override
    public String toString() {
        return "QwipException(" + Qwip.statusName(status) + "): " + getMessage();
    }
}
