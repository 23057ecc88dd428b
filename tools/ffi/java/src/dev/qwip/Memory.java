package dev.qwip;

/** What a model and a session would take, computed before anything is taken. All in bytes. */
public final class Memory {
    /** Pages of the file: the system can drop them and read them again. */
    public final long mapped;
    /** Memory of our own: what Android's low-memory killer counts. */
    public final long dirty;
    /** Memory of the GPU. */
    public final long gpu;
    /** What one more token of context takes, inside of {@link #dirty} (or {@link #gpu}). */
    public final long keysAndValuesPerToken;
    /** Everything. */
    public final long total;

    /** In the order of the library's QWIP_MEMORY_KIND. */
    Memory(long[] kinds) {
        mapped = kinds[0];
        dirty = kinds[1];
        gpu = kinds[2];
        keysAndValuesPerToken = kinds[3];
        total = kinds[4];
    }

    @Override
    public String toString() {
        return "mapped " + mapped + ", dirty " + dirty + ", gpu " + gpu + ", per token " + keysAndValuesPerToken
                + ", total " + total + " bytes";
    }
}
