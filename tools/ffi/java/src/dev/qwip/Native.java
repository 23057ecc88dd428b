package dev.qwip;

import java.nio.ByteBuffer;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;

/**
 * The border: one method per function of the C interface. They throw {@link QwipException} where the function fails, and
 * text is UTF-8. Callbacks come in as static methods with a number, so that the glue holds no reference to a listener that
 * could dangle.
 */
final class Native {
    private static final ConcurrentHashMap<Long, ByteBuffer> BUFFERS = new ConcurrentHashMap<>();
    private static final ConcurrentHashMap<Long, Watch> WATCHES = new ConcurrentHashMap<>();
    private static final AtomicLong KEYS = new AtomicLong();
    private static final int ABI = 1;

    private static volatile Qwip.Log log;
    private static volatile Throwable logFailure;

    static {
        System.loadLibrary("qwip_jni");
        if (abiVersion() != ABI) {
            throw new UnsatisfiedLinkError("libqwip has the interface " + abiVersion() + ", these classes need " + ABI);
        }
    }

    private Native() {}

    /** A progress listener and what it threw. */
    static final class Watch {
        final Model.Progress progress;
        volatile Throwable thrown;

        Watch(Model.Progress progress) {
            this.progress = progress;
        }
    }

    static long newKey() {
        return KEYS.incrementAndGet();
    }

    /** Null: removes. */
    static void watch(long key, Watch watch) {
        if (watch == null) {
            WATCHES.remove(key);
        } else {
            WATCHES.put(key, watch);
        }
    }

    /** Keeps a buffer from being collected while the library reads it. */
    static void keep(long key, ByteBuffer buffer) {
        BUFFERS.put(key, buffer);
    }

    /** How many buffers the library still reads. */
    static int buffersKept() {
        return BUFFERS.size();
    }

    static synchronized void setLogListener(Qwip.Log listener, int mostVerbose) {
        Qwip.Log former = log;
        log = listener;
        logFailure = null;
        try {
            setLog(listener == null ? 0 : mostVerbose);
        } catch (QwipException e) {
            log = former;
            throw e;
        }
    }

    static Throwable logFailure() {
        return logFailure;
    }

    // Called by the glue. Nothing may be thrown into it.

    static int onProgress(long key, long done, long total) {
        Watch watch = WATCHES.get(key);
        if (watch == null) {
            return 0;
        }
        try {
            return watch.progress.onProgress(done, total) ? 0 : 1;
        } catch (Throwable t) {
            watch.thrown = t;
            return 1;
        }
    }

    static void onLog(int level, byte[] message) {
        Qwip.Log listener = log;
        if (listener == null) {
            return;
        }
        try {
            listener.onLog(level, Text.string(message));
        } catch (Throwable t) {
            log = null;
            logFailure = t;
        }
    }

    static void onRelease(long key) {
        BUFFERS.remove(key);
    }

    static native int abiVersion();
    static native byte[] version();
    static native byte[] statusName(int status);
    static native boolean hasFeature(byte[] name);
    static native void setLog(int mostVerbose);

    static native long modelNew();
    static native void modelFree(long model);
    static native void modelSetThreads(long model, int threads);
    static native void modelSetAffinity(long model, int[] cores);
    static native void modelSetMmap(long model, boolean on);
    static native void modelSetMlock(long model, boolean on);
    static native void modelSetPrefault(long model, boolean on);
    static native void modelSetMemoryLimit(long model, long bytes);
    static native void modelSetGpuLayers(long model, int layers);
    static native void modelSetProgress(long model, long key);
    static native void modelOpenPath(long model, byte[] path);
    static native void modelOpenFd(long model, int fd, long offset, long length);
    static native void modelOpenMemory(long model, ByteBuffer buffer, long position, long length, long key);
    static native void modelLoad(long model);
    static native byte[] modelInfo(long model);
    static native byte[] modelMetadata(long model, byte[] key);
    static native long modelMemoryUsed(long model);
    static native long modelEstimate(long model, int context, int kind);
    static native void modelOnMemoryPressure(long model, int level);
    static native void modelOnThermal(long model, int state);
    static native void modelBackground(long model);
    static native void modelForeground(long model);
    static native int[] modelTokenize(long model, byte[] text, int flags);
    static native byte[] modelDetokenize(long model, int[] tokens, boolean showSpecial);
    static native byte[] modelTokenBytes(long model, int token);
    static native boolean modelIsEnd(long model, int token);
    static native byte[] modelApplyTemplate(long model, byte[] messages, byte[] tools, int thinking);

    static native long sessionNew(long model);
    static native void sessionFree(long session);
    static native void sessionSetContext(long session, int tokens);
    static native void sessionSetBatch(long session, int tokens);
    static native void sessionSetCacheTypes(long session, int keys, int values);
    static native void sessionSetRopeScaling(long session, int kind, float factor);
    static native long sessionEstimate(long session, int kind);
    static native void sessionPrepare(long session);
    static native long sessionFork(long session);
    static native long sessionLength(long session);
    static native void sessionTruncate(long session, long tokens);
    static native void sessionSave(long session, byte[] path);
    static native void sessionRestore(long session, byte[] path);
    static native void sessionCancel(long session);
    static native void sessionDecode(long session, int[] tokens);
    static native int[] sessionTokens(long session);
    static native float[] sessionLogits(long session);
    static native float[] sessionEmbed(long session, byte[] text, int dimensions);
    static native double sessionRerank(long session, byte[] query, byte[] document);

    static native long samplerNew(long model);
    static native void samplerFree(long sampler);
    static native void samplerSetTemperature(long sampler, float value);
    static native void samplerSetTopK(long sampler, int value);
    static native void samplerSetTopP(long sampler, float value);
    static native void samplerSetMinP(long sampler, float value);
    static native void samplerSetRepeatPenalty(long sampler, float value);
    static native void samplerSetPresencePenalty(long sampler, float value);
    static native void samplerSetFrequencyPenalty(long sampler, float value);
    static native void samplerSetPenaltyLastN(long sampler, int value);
    static native void samplerSetSeed(long sampler, long seed);
    static native int samplerSample(long sampler, long session);

    static native long requestNew(long session);
    static native void requestFree(long request);
    static native void requestSetMessages(long request, byte[] json);
    static native void requestSetPrompt(long request, byte[] text);
    static native void requestSetTools(long request, byte[] json);
    static native void requestSetToolChoice(long request, byte[] choice);
    static native void requestSetParallelToolCalls(long request, boolean on);
    static native void requestSetJsonSchema(long request, byte[] schema);
    static native void requestSetGrammar(long request, byte[] lark);
    static native void requestSetThinking(long request, int thinking);
    static native void requestSetThinkingBudget(long request, int tokens);
    static native void requestSetTemplateKwargs(long request, byte[] json);
    static native void requestSetMaxTokens(long request, int tokens);
    static native void requestAddStop(long request, byte[] text);
    static native void requestSetIgnoreEos(long request, boolean on);
    static native void requestSetSampler(long request, long sampler);
    static native void requestStart(long request);
    /** The kind of the event, its text in {@code data[0]}; or minus the status: TIMEOUT or DONE. */
    static native int requestPoll(long request, long timeoutMillis, byte[][] data);
    /** False: the time is over. */
    static native boolean requestWait(long request, long timeoutMillis);
    static native void requestCancel(long request);
    static native byte[] requestResult(long request);
}
