package dev.qwip;

import static dev.qwip.Check.contains;
import static dev.qwip.Check.equal;
import static dev.qwip.Check.fails;
import static dev.qwip.Check.that;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/** Text in both directions. */
final class TextTest {
    /** Two, three and four bytes in UTF-8, and a family of seven code points. */
    static final String MIXED = "é 中文 \uD83D\uDE00 \uD83D\uDC68\u200D\uD83D\uDC69\u200D\uD83D\uDC67\u200D\uD83D\uDC66";

    private TextTest() {}

    static void messages() {
        Messages messages = new Messages().system("a \"b\" \\ \n\t\0").user(MIXED).assistant("", Arrays.asList("{\"id\":\"1\"}")).tool("1", "{}");
        equal("[{\"role\":\"system\",\"content\":\"a \\\"b\\\" \\\\ \\n\\u0009\\u0000\"},"
                + "{\"role\":\"user\",\"content\":\"" + MIXED + "\"},"
                + "{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"id\":\"1\"}]},"
                + "{\"role\":\"tool\",\"content\":\"{}\",\"tool_call_id\":\"1\"}]", messages.toString());
        equal("[]", new Messages().toString());
    }

    static void refused() throws Exception {
        contains(fails(QwipException.INVALID_ARGUMENT, () -> Text.utf8("a\uD83D")).getMessage(), "surrogate");
        contains(fails(QwipException.INVALID_ARGUMENT, () -> Text.line("ab\0c")).getMessage(), "character 2 of 4");
    }

    static void tokens(Model model) throws Exception {
        String text = MIXED + "\0 behind the NUL";
        int[] tokens = model.tokenize(text, 0);
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        for (int token : tokens) {
            byte[] part = model.tokenBytes(token);
            bytes.write(part, 0, part.length);
        }
        equal(text, new String(bytes.toByteArray(), StandardCharsets.UTF_8));
        equal(MIXED, model.detokenize(model.tokenize(MIXED, 0), false));
        equal("a\uFFFDb", model.detokenize(model.tokenize("a\0b", 0), false));
        equal(0, model.tokenize("", 0).length);
        equal("", model.detokenize(new int[0], false));

        String end = "<|im_end|>";
        equal(1, model.tokenize(end, Model.TOKENIZE_SPECIAL).length);
        that(model.tokenize(end, 0).length > 1, "a control token although it was not asked for");
        int token = model.tokenize(end, Model.TOKENIZE_SPECIAL)[0];
        that(model.isEnd(token), "<|im_end|> does not end an answer");
        that(!model.isEnd(tokens[0]), "a letter ends an answer");
        equal(end, model.detokenize(new int[] {token}, true));
        equal("", model.detokenize(new int[] {token}, false));

        StringBuilder many = new StringBuilder();
        for (int i = 0; i < 20_000; i++) {
            many.append(MIXED);
        }
        equal(many.toString(), model.detokenize(model.tokenize(many.toString(), 0), false));
        fails(QwipException.INVALID_ARGUMENT, () -> model.detokenize(new int[] {-1}, false));
        fails(QwipException.INVALID_ARGUMENT, () -> model.tokenBytes(1 << 30));
        try {
            model.detokenize(null, false);
            that(false, "null was taken for tokens");
        } catch (NullPointerException expected) {
            contains(expected.getMessage(), "tokens");
        }
    }

    static void template(Model model) {
        String prompt = model.applyTemplate(new Messages().user(MIXED).toString(), null, Model.THINKING_OFF);
        contains(prompt, "<|im_start|>user\n" + MIXED + "<|im_end|>\n<|im_start|>assistant\n");
        String tools = model.applyTemplate(new Messages().user("x").toString(), ChatTest.TOOLS, Model.THINKING_DEFAULT);
        contains(tools, "get_weather");
        contains(model.applyTemplate(new Messages().user("a\0b").toString(), null, Model.THINKING_OFF), "a\uFFFDb");
    }

    /** The schema leaves one answer, so that it comes back through the events as it went in. */
    static void answer(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = session.newRequest()) {
            request.setMessages(new Messages().user(MIXED).toString());
            if (!Qwip.hasFeature("constrain")) {
                fails(QwipException.UNSUPPORTED, () -> request.setJsonSchema("{}"));
                return;
            }
            request.setJsonSchema("{\"const\":" + Messages.quote(MIXED) + "}");
            equal("\"" + MIXED + "\"", ChatTest.text(request));
        }
    }
}
