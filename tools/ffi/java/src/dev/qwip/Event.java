package dev.qwip;

/** A piece of an answer. They come in the order of {@link Kind}, text, reasoning and tool calls mixed. */
public final class Event {
    /** What {@link #text} is. */
    public enum Kind {
        /** Nothing came in the time given; see {@link Request#next(long)}. */
        NONE,
        /** Tokens of the prompt so far: <code>{"done": 512, "total": 2048}</code>. */
        PROGRESS,
        /** More of the answer, in whole characters; U+FFFD stands for NUL. */
        TEXT,
        /** More of the thinking. */
        REASONING,
        /** A complete tool call, as an element of OpenAI's {@code tool_calls}. */
        TOOL_CALL,
        /** Tokens used, as OpenAI's {@code usage}. */
        USAGE,
        /** Why it ended: stop, length, tool_calls, cancelled or repetition. The last event. */
        FINISH,
        /** Something that a later version of the library says: to be ignored. */
        OTHER,
    }

    /** Nothing came in the time given. */
    static final Event NONE = new Event(Kind.NONE, "");

    /** The library's number of an event that says why the request failed: here an exception. */
    static final int ERROR = 7;

    private static final Kind[] KINDS = Kind.values();

    private final Kind kind;
    private final String text;

    private Event(Kind kind, String text) {
        this.kind = kind;
        this.text = text;
    }

    /** The library's numbers of kinds are the enum's. */
    static Event of(int kind, String text) {
        boolean known = kind > 0 && kind < Kind.OTHER.ordinal();
        return new Event(known ? KINDS[kind] : Kind.OTHER, text);
    }

    public Kind kind() {
        return kind;
    }

    /** Text or JSON, see {@link Kind}. */
    public String text() {
        return text;
    }

    @Override
    public String toString() {
        return kind + " " + text;
    }
}
