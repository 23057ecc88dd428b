package dev.qwip;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.Objects;

/**
 * One answer. Set up, then read in one of two ways: as events, {@code for (Event event : request)} or {@link #next}; or by
 * a {@link Listener}. {@link #cancel} and {@link #close} may be called from any thread at any time, also by the listener.
 */
public final class Request extends Handle implements Iterable<Event> {
    /** Hears the events, on a thread of its own. */
    public interface Listener {
        /** The next event. What it throws cancels the request and is given to {@link #onEnd}. */
        void onEvent(Event event);

        /**
         * Called once, as the last: with null when the answer is over (cancelled ones as well); with a
         * {@link QwipException} when it failed or the request was closed; or with what {@link #onEvent} threw.
         */
        void onEnd(Throwable problem);
    }

    Request(long handle) {
        super(handle);
    }

    // Settings, before it is started.

    /** The whole conversation: OpenAI's message list as JSON, see {@link Messages}. What the session holds of it is not read again. */
    public Request setMessages(String json) {
        Native.requestSetMessages(handle(), Text.line(json));
        return this;
    }

    /** In place of messages: exactly this text, control tokens included. */
    public Request setPrompt(String text) {
        Native.requestSetPrompt(handle(), Text.line(text));
        return this;
    }

    /** OpenAI's tools as JSON. */
    public Request setTools(String json) {
        Native.requestSetTools(handle(), Text.line(json));
        return this;
    }

    /** auto (the default), none, required, or OpenAI's object that names a function. The last two need "constrain". */
    public Request setToolChoice(String choice) {
        Native.requestSetToolChoice(handle(), Text.line(choice));
        return this;
    }

    /** Whether one answer may have several tool calls. */
    public Request setParallelToolCalls(boolean on) {
        Native.requestSetParallelToolCalls(handle(), on);
        return this;
    }

    /** The JSON schema that the answer keeps to. Needs "constrain". */
    public Request setJsonSchema(String schema) {
        Native.requestSetJsonSchema(handle(), Text.line(schema));
        return this;
    }

    /** The Lark grammar that the answer keeps to. Needs "constrain". */
    public Request setGrammar(String lark) {
        Native.requestSetGrammar(handle(), Text.line(lark));
        return this;
    }

    /** A THINKING constant of {@link Model}. */
    public Request setThinking(int thinking) {
        Native.requestSetThinking(handle(), thinking);
        return this;
    }

    /** The most tokens of thinking. */
    public Request setThinkingBudget(int tokens) {
        Native.requestSetThinkingBudget(handle(), Text.unsigned("the thinking budget", tokens));
        return this;
    }

    /** More names for the chat template, as a JSON object. */
    public Request setTemplateKwargs(String json) {
        Native.requestSetTemplateKwargs(handle(), Text.line(json));
        return this;
    }

    /** The most tokens of the answer. */
    public Request setMaxTokens(int tokens) {
        Native.requestSetMaxTokens(handle(), Text.unsigned("the most tokens", tokens));
        return this;
    }

    /** The answer ends before this text. One more at each call, up to 64. */
    public Request addStop(String text) {
        Native.requestAddStop(handle(), Text.line(text));
        return this;
    }

    /** Goes on after the token that ends an answer. */
    public Request setIgnoreEos(boolean on) {
        Native.requestSetIgnoreEos(handle(), on);
        return this;
    }

    /** How tokens are drawn; the settings are copied. */
    public Request setSampler(Sampler sampler) {
        Native.requestSetSampler(handle(), sampler.handle());
        return this;
    }

    // Running it.

    /** Begins; the events are read with {@link #next}. In the background it waits. Once only. */
    public void start() {
        Native.requestStart(handle());
    }

    /**
     * Begins; {@code listener} hears the events.
     *
     * <p>A Java thread polls and calls it, and not the C callback: no thread of the library is attached to the virtual
     * machine for every token, an exception never stands in a native frame, and the listener may take its time, cancel and
     * even close the request, which from inside a C callback the library has to refuse.
     */
    public void start(Listener listener) {
        Objects.requireNonNull(listener, "listener");
        start();
        Thread thread = new Thread(() -> deliver(listener), "qwip-request");
        thread.setDaemon(true);
        thread.start();
    }

    /**
     * The next event; waits for it at most so many milliseconds (negative: as long as it takes), then an event of
     * {@link Event.Kind#NONE}. Null: there are no more. Throws why the request failed.
     *
     * <p>The wait does not end by {@link Thread#interrupt}: call {@link #cancel} from another thread.
     */
    public Event next(long timeoutMillis) {
        long handle = handle();
        byte[][] data = new byte[1][];
        int kind = Native.requestPoll(handle, timeoutMillis, data);
        if (kind == -QwipException.DONE) {
            return null;
        }
        if (kind == -QwipException.TIMEOUT) {
            return Event.NONE;
        }
        String text = Text.string(data[0]);
        if (kind == Event.ERROR) {
            Native.requestWait(handle, -1); // It ends right behind its last event; throws the same with its status.
            throw new QwipException(QwipException.INTERNAL, text);
        }
        return Event.of(kind, text);
    }

    /** Starts it and gives its events until there are no more. Once only. To end early: {@link #cancel} or close. */
    @Override
    public Iterator<Event> iterator() {
        start();
        return new Iterator<Event>() {
            private Event ahead;
            private boolean over;

            @Override
            public boolean hasNext() {
                if (ahead == null && !over) {
                    ahead = Request.this.next(-1);
                    over = ahead == null;
                }
                return !over;
            }

            @Override
            public Event next() {
                if (!hasNext()) {
                    throw new NoSuchElementException();
                }
                Event event = ahead;
                ahead = null;
                return event;
            }
        };
    }

    /** Waits for the end, at most so many milliseconds; negative: as long as it takes. False: not yet. */
    public boolean await(long timeoutMillis) {
        return Native.requestWait(handle(), timeoutMillis);
    }

    /** Ends it soon (within 50 ms, also inside the prompt); the event FINISH "cancelled" follows. Any thread. */
    public void cancel() {
        Native.requestCancel(handle());
    }

    /** Once it is over: JSON with message (which can be appended to the messages as it is), finish_reason and usage. */
    public String result() {
        return Text.string(Native.requestResult(handle()));
    }

    @Override
    void free(long handle) {
        Native.requestFree(handle);
    }

    private void deliver(Listener listener) {
        Throwable problem = null;
        try {
            for (Event event = next(-1); event != null; event = next(-1)) {
                listener.onEvent(event);
            }
        } catch (Throwable t) {
            problem = t;
            try {
                cancel();
            } catch (QwipException closed) {
                // Nothing runs any more.
            }
        }
        listener.onEnd(problem);
    }
}
