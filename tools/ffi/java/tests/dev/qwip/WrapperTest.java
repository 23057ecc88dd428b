package dev.qwip;

import static dev.qwip.Check.test;

/** All tests of the wrapper: {@code java dev.qwip.WrapperTest builtin.gguf FOLDER-FOR-FILES}. */
public final class WrapperTest {
    private WrapperTest() {}

    public static void main(String[] args) {
        String file = args[0];
        System.out.println("qwip " + Qwip.version() + ", interface " + Qwip.abiVersion() + ", Java " + System.getProperty("java.version"));

        test("messages as JSON", TextTest::messages);
        test("half a surrogate pair, NUL", TextTest::refused);
        try (Model model = Model.load(file)) {
            test("text through tokens", () -> TextTest.tokens(model));
            test("text through the template", () -> TextTest.template(model));
            test("text out of the model", () -> TextTest.answer(model));

            test("chat by iterator", () -> ChatTest.iterator(model));
            test("chat by listener", () -> ChatTest.listener(model));
            test("Chinese", () -> ChatTest.chinese(model));
            test("tools", () -> ChatTest.tools(model));
            test("schema", () -> ChatTest.schema(model));
            test("grammar", () -> ChatTest.grammar(model));
            test("stop, most tokens, wait, result", () -> ChatTest.settings(model));
            test("thinking", () -> ChatTest.thinking(model));
            test("cancel in the middle", () -> ChatTest.cancel(model));
            test("cancel and close by the listener", () -> ChatTest.closedByListener(model));
            test("a listener that throws", () -> ChatTest.listenerThrows(model));
            test("background, heat, memory pressure", () -> ChatTest.host(model));

            test("logits, and greedy decoding as a request", () -> LowLevelTest.greedy(model));
            test("save, restore, truncate, fork", () -> LowLevelTest.saved(model, args[1]));
            test("estimate", () -> LowLevelTest.estimate(model));
            test("settings of a session and a sampler", () -> LowLevelTest.settings(model));

            test("embed and rerank with a model for chats", () -> LowLevelTest.otherTasks(model));
            test("two threads on one session", () -> MisuseTest.busy(model));
            test("use after close", () -> MisuseTest.closed(model));
            test("broken JSON, values out of range", () -> MisuseTest.broken(model));
            test("a schema and a grammar that are none", () -> MisuseTest.brokenLate(model));
            test("close while others use it", () -> MisuseTest.closedInUse(model));
        }
        test("embed", () -> LowLevelTest.embed(file, args[1]));
        test("settings, info and metadata", () -> OpenTest.settings(file));
        test("a direct buffer", () -> OpenTest.buffer(file));
        test("a descriptor with an offset", () -> OpenTest.descriptor(file, args[1]));
        test("no file, no model, half a model", () -> OpenTest.noModel(file, args[1]));
        test("a memory limit that is too small", () -> OpenTest.limit(file));
        test("progress that stops or throws", () -> OpenTest.progress(file));
        test("the log, and a listener of it that throws", () -> OpenTest.log(file));
        test("100 times open and close", () -> OpenTest.cycles(file));
        test("8 threads that open and close", () -> OpenTest.threads(file));
        Check.end();
    }
}
