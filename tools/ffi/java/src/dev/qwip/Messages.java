package dev.qwip;

/**
 * Writes OpenAI's message list, so that an app needs no JSON library for a chat. A message can be added at any time;
 * {@link #toString} is the list so far. Not for use by two threads at once.
 */
public final class Messages {
    private final StringBuilder json = new StringBuilder("[");

    /** What the model should be. */
    public Messages system(String text) {
        return message("system", text).close();
    }

    /** What the user said. */
    public Messages user(String text) {
        return message("user", text).close();
    }

    /** What the model answered. */
    public Messages assistant(String text) {
        return message("assistant", text).close();
    }

    /** What the model answered, with its tool calls: the texts of {@link Event.Kind#TOOL_CALL} events. */
    public Messages assistant(String text, Iterable<String> toolCalls) {
        message("assistant", text);
        json.append(",\"tool_calls\":[");
        String comma = "";
        for (String call : toolCalls) {
            json.append(comma).append(call);
            comma = ",";
        }
        json.append(']');
        return close();
    }

    /** What the tool gave back; {@code id} is that of its call. */
    public Messages tool(String id, String result) {
        message("tool", result);
        json.append(",\"tool_call_id\":");
        quote(json, id);
        return close();
    }

    @Override
    public String toString() {
        return json + "]";
    }

    /** {@code text} as a JSON string, quotes included. */
    public static String quote(String text) {
        StringBuilder out = new StringBuilder(text.length() + 16);
        quote(out, text);
        return out.toString();
    }

    private Messages message(String role, String text) {
        if (json.length() > 1) {
            json.append(',');
        }
        json.append("{\"role\":\"").append(role).append("\",\"content\":");
        quote(json, text);
        return this;
    }

    private Messages close() {
        json.append('}');
        return this;
    }

    private static void quote(StringBuilder out, String text) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c == '\n') {
                out.append("\\n");
            } else if (c < 0x20) {
                out.append("\\u00").append(Character.forDigit(c >> 4, 16)).append(Character.forDigit(c & 15, 16));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }
}
