package dev.qwip;

import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CodingErrorAction;
import java.nio.charset.StandardCharsets;

/**
 * Text crosses the border as UTF-8 in a byte array. JNI's own string calls use another encoding (an emoji as two
 * surrogates of three bytes each, NUL as two bytes), which the library would refuse.
 */
final class Text {
    private Text() {}

    /** UTF-8 of {@code text}; a surrogate without its partner is an error and not replaced by a question mark. */
    static byte[] utf8(String text) {
        try {
            ByteBuffer bytes = StandardCharsets.UTF_8.newEncoder()
                    .onMalformedInput(CodingErrorAction.REPORT)
                    .encode(CharBuffer.wrap(text));
            byte[] out = new byte[bytes.remaining()];
            bytes.get(out);
            return out;
        } catch (CharacterCodingException e) {
            throw new QwipException(QwipException.INVALID_ARGUMENT, "the text has half a surrogate pair");
        }
    }

    /** UTF-8 for a call that ends its text at the first NUL: one inside is an error, the text would be cut there. */
    static byte[] line(String text) {
        int nul = text.indexOf('\0');
        if (nul >= 0) {
            throw new QwipException(QwipException.INVALID_ARGUMENT,
                    "the text has a NUL at character " + nul + " of " + text.length());
        }
        return utf8(text);
    }

    /** As {@link #line}, where null means "none". */
    static byte[] optional(String text) {
        return text == null ? null : line(text);
    }

    static String string(byte[] utf8) {
        return new String(utf8, StandardCharsets.UTF_8);
    }

    /** {@code value} for a call that takes an unsigned number. */
    static int unsigned(String name, int value) {
        if (value < 0) {
            throw new QwipException(QwipException.INVALID_ARGUMENT, name + " is " + value + ", it must be 0 or more");
        }
        return value;
    }

    /** As {@link #unsigned(String, int)}. */
    static long unsigned(String name, long value) {
        if (value < 0) {
            throw new QwipException(QwipException.INVALID_ARGUMENT, name + " is " + value + ", it must be 0 or more");
        }
        return value;
    }
}
