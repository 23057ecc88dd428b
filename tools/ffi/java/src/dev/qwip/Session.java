package dev.qwip;

import java.util.Objects;

/**
 * One sequence of tokens and what the model knows about it. One call at a time: a second one, from whatever thread, throws
 * {@link QwipException#BUSY} at once, also while a request runs. Only {@link #cancel} and {@link #close} are always
 * allowed.
 */
public final class Session extends Handle {
    /** For {@link #setCacheTypes}. */
    public static final int CACHE_F16 = 0;
    public static final int CACHE_F32 = 1;
    public static final int CACHE_Q8_0 = 2;

    /** For {@link #setRopeScaling}: what the file says. */
    public static final int ROPE_MODEL = 0;
    public static final int ROPE_NONE = 1;
    public static final int ROPE_LINEAR = 2;
    public static final int ROPE_YARN = 3;

    private static final int MEMORY_KINDS = 5;

    Session(long handle) {
        super(handle);
    }

    // Settings, before it is used.

    /** The most tokens it holds; 0 (the default): what the model was trained for. */
    public Session setContext(int tokens) {
        Native.sessionSetContext(handle(), Text.unsigned("the context", tokens));
        return this;
    }

    /** Tokens of a prompt computed together; 0: the default. */
    public Session setBatch(int tokens) {
        Native.sessionSetBatch(handle(), Text.unsigned("the batch", tokens));
        return this;
    }

    /** How keys and values are stored: CACHE constants. */
    public Session setCacheTypes(int keys, int values) {
        Native.sessionSetCacheTypes(handle(), keys, values);
        return this;
    }

    /** For contexts longer than the model was trained for: a ROPE constant, and by how much; 0: as much as is needed. */
    public Session setRopeScaling(int kind, float factor) {
        Native.sessionSetRopeScaling(handle(), kind, factor);
        return this;
    }

    /** What model and session take with these settings. */
    public Memory estimate() {
        long[] kinds = new long[MEMORY_KINDS];
        for (int kind = 0; kind < kinds.length; kind++) {
            kinds[kind] = Native.sessionEstimate(handle(), kind);
        }
        return new Memory(kinds);
    }

    /** Takes its memory now; otherwise the first use does. */
    public void prepare() {
        Native.sessionPrepare(handle());
    }

    // The sequence.

    /** Another session that begins with what this one holds and shares the memory of it. */
    public Session fork() {
        return new Session(Native.sessionFork(handle()));
    }

    /** Tokens it holds. */
    public long length() {
        return Native.sessionLength(handle());
    }

    /** The tokens that the session holds. */
    public int[] tokens() {
        return Native.sessionTokens(handle());
    }

    /** Keeps the first {@code tokens}; there are no logits then. */
    public void truncate(long tokens) {
        Native.sessionTruncate(handle(), Text.unsigned("the length", tokens));
    }

    /** Writes what it holds to a file, which is complete or not there. */
    public void save(String path) {
        Native.sessionSave(handle(), Text.line(path));
    }

    /** Holds what {@link #save} wrote, by the same version of the library for the same model and settings. */
    public void restore(String path) {
        Native.sessionRestore(handle(), Text.line(path));
    }

    /** Ends the call that runs on it, and its request. Any thread; comes back at once. */
    public void cancel() {
        Native.sessionCancel(handle());
    }

    // Low level: on the caller's thread.

    /** Appends tokens and computes the logits of the last. */
    public void decode(int... tokens) {
        Native.sessionDecode(handle(), Objects.requireNonNull(tokens, "tokens"));
    }

    /** The logits after the last token: one per entry of the vocabulary. */
    public float[] logits() {
        return Native.sessionLogits(handle());
    }

    /** The vector of a text, for a model whose task is "embed"; {@code dimensions}: the first so many, 0: all. */
    public float[] embed(String text, int dimensions) {
        return Native.sessionEmbed(handle(), Text.utf8(text), Text.unsigned("dimensions", dimensions));
    }

    /** How well a document answers a query, 0 to 1, for a model whose task is "rerank". */
    public double rerank(String query, String document) {
        return Native.sessionRerank(handle(), Text.line(query), Text.line(document));
    }

    /** An answer to ask for. */
    public Request newRequest() {
        return new Request(Native.requestNew(handle()));
    }

    @Override
    void free(long handle) {
        Native.sessionFree(handle);
    }
}
