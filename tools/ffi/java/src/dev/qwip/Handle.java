package dev.qwip;

import java.util.concurrent.atomic.AtomicLong;

/**
 * An object of the library. Closing it twice does nothing; using it afterwards throws a {@link QwipException} with
 * {@link QwipException#INVALID_HANDLE}, also when another thread closes it in the middle of a call: the library knows its
 * handles by number and never follows one that was freed.
 *
 * <p>Nothing is freed by the garbage collector: use try-with-resources, or close in {@code onDestroy}.
 */
public abstract class Handle implements AutoCloseable {
    private final AtomicLong value;

    Handle(long value) {
        this.value = new AtomicLong(value);
    }

    final long handle() {
        long handle = value.get();
        if (handle == 0) {
            String what = getClass().getSimpleName().toLowerCase(java.util.Locale.ROOT);
            throw new QwipException(QwipException.INVALID_HANDLE, "the " + what + " is closed");
        }
        return handle;
    }

    /** Frees it in the library; throws what the library answers, and then it is still open. */
    abstract void free(long handle);

    /** True once {@link #close} was called. */
    public final boolean isClosed() {
        return value.get() == 0;
    }

    /** Frees what belongs to it. What runs on it is cancelled. Any thread, any number of times. */
    @Override
    public void close() {
        long handle = value.getAndSet(0);
        if (handle == 0) {
            return;
        }
        try {
            free(handle);
        } catch (QwipException e) {
            // Busy: a call has not come back. It can be closed again later.
            value.compareAndSet(0, handle);
            throw e;
        }
    }
}
