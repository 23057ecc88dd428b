package dev.qwip;

import java.nio.ByteBuffer;
import java.util.Objects;

/**
 * A model file: made, set up, opened, loaded; then sessions share its weights. Every call may be made from any thread.
 * Sessions that are still open keep the weights when the model is closed.
 *
 * <pre>
 * try (Model model = Model.load(path); Session session = model.newSession(); Request request = session.newRequest()) {
 *     request.setMessages(new Messages().user("Hello").toString());
 *     for (Event event : request) {
 *         if (event.kind() == Event.Kind.TEXT) System.out.print(event.text());
 *     }
 * }
 * </pre>
 */
public final class Model extends Handle {
    /** For {@link #onMemoryPressure}: nothing to do. */
    public static final int PRESSURE_NORMAL = 0;
    /** Drops caches and buffers of idle sessions. */
    public static final int PRESSURE_MODERATE = 1;
    /** Also pages of idle sessions, which are computed again when needed, and mapped pages. */
    public static final int PRESSURE_CRITICAL = 2;

    /** For {@link #onThermal}: all threads. */
    public static final int THERMAL_NOMINAL = 0;
    /** Three quarters of the threads. */
    public static final int THERMAL_FAIR = 1;
    /** Half of them, resting a third of the time. */
    public static final int THERMAL_SERIOUS = 2;
    /** One thread, resting two thirds of the time. */
    public static final int THERMAL_CRITICAL = 3;

    /** For {@link #tokenize}: control tokens in the text count as such. */
    public static final int TOKENIZE_SPECIAL = 1;
    /** For {@link #tokenize}: the token of the beginning first, where the model has one. */
    public static final int TOKENIZE_BOS = 2;

    /** For {@code thinking}: as the model does it by itself. */
    public static final int THINKING_DEFAULT = -1;
    public static final int THINKING_OFF = 0;
    public static final int THINKING_ON = 1;

    private static final int MEMORY_KINDS = 5;

    private final long key = Native.newKey();
    private volatile Native.Watch watch;

    /** Hears how far opening and loading are, on the thread that loads. */
    public interface Progress {
        /**
         * Bytes. False stops the load, which then throws {@link QwipException#CANCELLED}; so does an exception, which is
         * the cause of that one. The model can be loaded again.
         */
        boolean onProgress(long done, long total);
    }

    /** A model without a file yet. */
    public Model() {
        super(Native.modelNew());
    }

    /** Opens and loads the file at {@code path} with the default settings. Takes a while: not on the main thread. */
    public static Model load(String path) {
        Model model = new Model();
        try {
            model.openPath(path);
            model.load();
            return model;
        } catch (RuntimeException e) {
            model.close();
            throw e;
        }
    }

    // Settings, before it is loaded.

    /** Threads that compute; 0 (the default): one per fast core. */
    public Model setThreads(int threads) {
        Native.modelSetThreads(handle(), threads);
        return this;
    }

    /** The cores they run on; none (the default): the system's choice. */
    public Model setAffinity(int... cores) {
        for (int core : cores) {
            Text.unsigned("a core", core);
        }
        Native.modelSetAffinity(handle(), cores);
        return this;
    }

    /** True (the default) maps the file; false copies it, which survives a file that is cut or replaced. */
    public Model setMmap(boolean on) {
        Native.modelSetMmap(handle(), on);
        return this;
    }

    /** Keeps the pages of the file in memory. */
    public Model setMlock(boolean on) {
        Native.modelSetMlock(handle(), on);
        return this;
    }

    /** Reads the whole file while loading, so that the first answer does not wait for it. */
    public Model setPrefault(boolean on) {
        Native.modelSetPrefault(handle(), on);
        return this;
    }

    /** The most memory of its own ({@link Memory#dirty}) that model and sessions may take; 0: no limit. */
    public Model setMemoryLimit(long bytes) {
        Native.modelSetMemoryLimit(handle(), Text.unsigned("the memory limit", bytes));
        return this;
    }

    /** Layers on the GPU: 0 (the default) none, negative all. */
    public Model setGpuLayers(int layers) {
        Native.modelSetGpuLayers(handle(), layers);
        return this;
    }

    /**
     * Who hears how far loading is; null: nobody. There is something to hear where the file is copied
     * ({@link #setMmap}), read ahead ({@link #setPrefault}) or put on a GPU.
     */
    public Model setProgress(Progress progress) {
        long handle = handle();
        if (progress == null) {
            Native.modelSetProgress(handle, 0);
            watch = null;
            Native.watch(key, null);
            return this;
        }
        Native.Watch next = new Native.Watch(progress);
        Native.watch(key, next);
        watch = next;
        Native.modelSetProgress(handle, key);
        return this;
    }

    // Opening and loading.

    /** Opens a file: reads its header. */
    public void openPath(String path) {
        byte[] utf8 = Text.line(path);
        watched(() -> Native.modelOpenPath(handle(), utf8));
    }

    /**
     * Opens a part of an open file, for example an Android asset (stored uncompressed). The library duplicates the
     * descriptor; close yours when you like. A length of 0: to the end of the file.
     */
    public void openFd(int fd, long offset, long length) {
        Text.unsigned("the offset", offset);
        Text.unsigned("the length", length);
        watched(() -> Native.modelOpenFd(handle(), fd, offset, length));
    }

    /**
     * Opens what lies between the buffer's position and its limit. It must be a direct buffer, and nobody may change it
     * while the model or a session of it is open; it is kept from being collected for that long.
     */
    public void openMemory(ByteBuffer buffer) {
        if (!buffer.isDirect()) {
            throw new QwipException(QwipException.INVALID_ARGUMENT, "the buffer is not a direct one");
        }
        long released = Native.newKey();
        Native.keep(released, buffer);
        try {
            watched(() -> Native.modelOpenMemory(handle(), buffer, buffer.position(), buffer.remaining(), released));
        } catch (RuntimeException e) {
            Native.onRelease(released);
            throw e;
        }
    }

    /** Makes it ready for sessions. Takes a while: not on the main thread. */
    public void load() {
        watched(() -> Native.modelLoad(handle()));
        watch = null;
        Native.watch(key, null);
    }

    // What it is; from open on.

    /** JSON: architecture, name, file_type, bytes, parameters, context, layers, vocab, task, thinks and more. */
    public String info() {
        return Text.string(Native.modelInfo(handle()));
    }

    /** The value of a GGUF key as JSON, or null if the file does not have it. */
    public String metadata(String key) {
        try {
            return Text.string(Native.modelMetadata(handle(), Text.line(key)));
        } catch (QwipException e) {
            if (e.status() == QwipException.NOT_FOUND) {
                return null;
            }
            throw e;
        }
    }

    /** What the model and a session of {@code context} tokens (0: as trained) with default settings would take. */
    public Memory estimate(int context) {
        Text.unsigned("the context", context);
        long[] kinds = new long[MEMORY_KINDS];
        for (int kind = 0; kind < kinds.length; kind++) {
            kinds[kind] = Native.modelEstimate(handle(), context, kind);
        }
        return new Memory(kinds);
    }

    /** Memory of its own that is taken now, in bytes: what the limit counts. */
    public long memoryUsed() {
        return Native.modelMemoryUsed(handle());
    }

    // What the host says.

    /** Gives memory back: one of the PRESSURE constants. */
    public void onMemoryPressure(int level) {
        Native.modelOnMemoryPressure(handle(), level);
    }

    /** Works less: one of the THERMAL constants. */
    public void onThermal(int state) {
        Native.modelOnThermal(handle(), state);
    }

    /**
     * Comes back when nothing computes any more, within 50 ms. Requests wait and go on where they were; calls that compute on
     * the caller's thread throw {@link QwipException#BACKGROUND}.
     */
    public void background() {
        Native.modelBackground(handle());
    }

    /** What was paused goes on where it was. */
    public void foreground() {
        Native.modelForeground(handle());
    }

    // Text and tokens, once it is loaded.

    /** The tokens of {@code text}, which may hold NULs; flags: 0 or TOKENIZE constants added. */
    public int[] tokenize(String text, int flags) {
        return Native.modelTokenize(handle(), Text.utf8(text), flags);
    }

    /**
     * The text of tokens; control tokens only with {@code showSpecial}. What is no whole character becomes U+FFFD, and so does
     * NUL: join {@link #tokenBytes} for text that comes token by token.
     */
    public String detokenize(int[] tokens, boolean showSpecial) {
        return Text.string(Native.modelDetokenize(handle(), Objects.requireNonNull(tokens, "tokens"), showSpecial));
    }

    /** The bytes of one token: perhaps not a whole character; none of a control token. */
    public byte[] tokenBytes(int token) {
        return Native.modelTokenBytes(handle(), token);
    }

    /** Whether the token ends an answer. */
    public boolean isEnd(int token) {
        return Native.modelIsEnd(handle(), token);
    }

    /** The prompt that a message list (and tools, or null) becomes; {@code thinking}: a THINKING constant. */
    public String applyTemplate(String messages, String tools, int thinking) {
        return Text.string(Native.modelApplyTemplate(handle(), Text.line(messages), Text.optional(tools), thinking));
    }

    /** A sequence of its own over these weights. */
    public Session newSession() {
        return new Session(Native.sessionNew(handle()));
    }

    /** Settings of the draw, the model's own at first. */
    public Sampler newSampler() {
        return new Sampler(Native.samplerNew(handle()));
    }

    @Override
    void free(long handle) {
        Native.modelFree(handle);
        Native.watch(key, null);
    }

    /** Runs {@code call}; if the progress listener's exception stopped it, that is the cause of what is thrown. */
    private void watched(Runnable call) {
        try {
            call.run();
        } catch (QwipException e) {
            Native.Watch heard = watch;
            if (e.status() == QwipException.CANCELLED && heard != null && heard.thrown != null) {
                e.initCause(heard.thrown);
            }
            throw e;
        }
    }
}
