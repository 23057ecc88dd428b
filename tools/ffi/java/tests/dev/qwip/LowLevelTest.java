package dev.qwip;

import static dev.qwip.Check.contains;
import static dev.qwip.Check.equal;
import static dev.qwip.Check.fails;
import static dev.qwip.Check.that;

import java.io.File;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Tokens, logits, what a session holds. */
final class LowLevelTest {
    private static final int GGUF_U32 = 4;
    private static final String QUESTION = "What is qwip?";

    private LowLevelTest() {}

    private static int[] prompt(Model model) {
        String prompt = model.applyTemplate(new Messages().user(QUESTION).toString(), null, Model.THINKING_OFF);
        return model.tokenize(prompt, Model.TOKENIZE_SPECIAL);
    }

    private static int best(float[] logits) {
        int best = 0;
        for (int i = 1; i < logits.length; i++) {
            if (logits[i] > logits[best]) {
                best = i;
            }
        }
        return best;
    }

    static void greedy(Model model) throws Exception {
        String asked;
        try (Session session = model.newSession(); Request request = ChatTest.ask(model, session, QUESTION)) {
            asked = ChatTest.text(request);
        }
        try (Session session = model.newSession(); Sampler sampler = model.newSampler().setTemperature(0)) {
            fails(QwipException.WRONG_STATE, session::logits);
            session.decode(prompt(model));
            equal((long) prompt(model).length, session.length());
            List<Integer> answer = new ArrayList<>();
            while (answer.size() < 200) {
                float[] logits = session.logits();
                contains(model.info().replace(" ", ""), "\"vocab\":" + logits.length);
                int token = best(logits);
                equal(token, sampler.sample(session));
                if (model.isEnd(token)) {
                    break;
                }
                answer.add(token);
                session.decode(token);
            }
            int[] tokens = answer.stream().mapToInt(Integer::intValue).toArray();
            equal(asked, model.detokenize(tokens, false));
        }
    }

    static void saved(Model model, String folder) throws Exception {
        String path = new File(folder, "saved 中文.session").getPath();
        int[] prompt = prompt(model);
        int[] begin = Arrays.copyOf(prompt, prompt.length - 1);
        int last = prompt[prompt.length - 1];
        try (Session session = model.newSession()) {
            session.decode(begin);
            session.save(path);
            session.decode(last);
            float[] expected = session.logits();
            try (Session restored = model.newSession()) {
                restored.restore(path);
                that(Arrays.equals(begin, restored.tokens()), "other tokens came back");
                restored.decode(last);
                that(Arrays.equals(expected, restored.logits()), "other logits after restore");
            }
            session.truncate(begin.length);
            session.decode(last);
            that(Arrays.equals(expected, session.logits()), "other logits after truncate");
            session.truncate(begin.length);
            try (Session fork = session.fork()) {
                session.decode(begin[0]);
                fork.decode(last);
                that(Arrays.equals(expected, fork.logits()), "other logits in a fork");
                equal((long) begin.length + 1, fork.length());
            }
            fails(QwipException.INVALID_ARGUMENT, () -> session.truncate(-1));
            fails(QwipException.NOT_FOUND, () -> session.restore(path + ".missing"));
        }
        that(new File(path).delete(), "no file was written");
    }

    static void estimate(Model model) throws Exception {
        Memory small = model.estimate(256);
        Memory large = model.estimate(2048);
        that(small.mapped > 4_000_000, small.toString());
        that(small.keysAndValuesPerToken > 0, small.toString());
        equal(0L, small.gpu);
        that(large.dirty - small.dirty >= (2048 - 256) * small.keysAndValuesPerToken, small + "; " + large);
        equal(small.mapped + small.dirty + small.gpu, small.total);
        try (Session session = model.newSession().setContext(256)) {
            equal(small.toString(), session.estimate().toString());
            long before = model.memoryUsed();
            session.prepare();
            that(model.memoryUsed() > before, "prepare took nothing");
        }
        fails(QwipException.INVALID_ARGUMENT, () -> model.estimate(-1));
    }

    static void settings(Model model) throws Exception {
        try (Session session = model.newSession()) {
            session.setContext(64).setBatch(16).setCacheTypes(Session.CACHE_Q8_0, Session.CACHE_F32).setRopeScaling(Session.ROPE_LINEAR, 2);
            fails(QwipException.INVALID_ARGUMENT, () -> session.setCacheTypes(99, 0));
            fails(QwipException.INVALID_ARGUMENT, () -> session.setContext(-5));
            session.decode(1, 2, 3);
            equal(3L, session.length());
            fails(QwipException.WRONG_STATE, () -> session.setContext(128));
            fails(QwipException.CONTEXT_FULL, () -> session.decode(new int[64]));
            fails(QwipException.INVALID_ARGUMENT, () -> session.decode(1 << 30));
        }
        try (Session session = model.newSession(); Sampler sampler = model.newSampler()) {
            session.decode(prompt(model));
            sampler.setTemperature(1.5f).setTopK(40).setTopP(0.95f).setMinP(0.01f).setRepeatPenalty(1.1f)
                    .setPresencePenalty(0.5f).setFrequencyPenalty(0.25f).setPenaltyLastN(64).setSeed(-1);
            int drawn = sampler.sample(session);
            that(drawn >= 0 && drawn < session.logits().length, "token " + drawn);
            try (Sampler same = model.newSampler()) {
                same.setTemperature(1.5f).setTopK(40).setTopP(0.95f).setMinP(0.01f).setRepeatPenalty(1.1f)
                        .setPresencePenalty(0.5f).setFrequencyPenalty(0.25f).setPenaltyLastN(64).setSeed(-1);
                equal(drawn, same.sample(session));
            }
            fails(QwipException.INVALID_ARGUMENT, () -> sampler.setTemperature(Float.NaN));
            fails(QwipException.INVALID_ARGUMENT, () -> sampler.setTopP(2));
        }
    }

    /** The file with two keys more, which are 64 bytes long together: so the weights stay where they are aligned. */
    static Path withPooling(String file, String folder, int pooling) throws Exception {
        ByteBuffer model = ByteBuffer.wrap(Files.readAllBytes(Paths.get(file))).order(ByteOrder.LITTLE_ENDIAN);
        ByteBuffer out = ByteBuffer.allocate(model.capacity() + 64).order(ByteOrder.LITTLE_ENDIAN);
        out.put(model.array(), 0, 16).putLong(model.getLong(16) + 2);
        for (String key : new String[] {"qwen3.pooling_type", "test.to_fill_."}) {
            byte[] name = key.getBytes(StandardCharsets.US_ASCII);
            out.putLong(name.length).put(name).putInt(GGUF_U32).putInt(pooling);
        }
        equal(24 + 64, out.position());
        out.put(model.array(), 24, model.capacity() - 24);
        return Files.write(Paths.get(folder, "pooling-" + pooling + ".gguf"), out.array());
    }

    static void embed(String file, String folder) throws Exception {
        Path path = withPooling(file, folder, 1);
        try (Model model = Model.load(path.toString()); Session session = model.newSession()) {
            contains(model.info().replace(" ", ""), "\"task\":\"embed\"");
            float[] vector = session.embed("text \0 中文", 0);
            equal(256, vector.length);
            that(Math.abs(length(vector) - 1) < 1e-3, "a vector of length " + length(vector));
            float[] part = session.embed("text \0 中文", 64);
            equal(64, part.length);
            that(Math.abs(length(part) - 1) < 1e-3, "a vector of length " + length(part));
            that(!Arrays.equals(vector, session.embed("another text", 0)), "every text has the same vector");
            fails(QwipException.INVALID_ARGUMENT, () -> session.embed("text", 257));
            fails(QwipException.INVALID_ARGUMENT, () -> session.embed("text", -1));
            fails(QwipException.UNSUPPORTED, () -> session.rerank("query", "document"));
        }
        Files.delete(path);
    }

    static void otherTasks(Model model) throws Exception {
        contains(model.info().replace(" ", ""), "\"task\":\"generate\"");
        try (Session session = model.newSession()) {
            refuses(() -> session.embed("text 中文", 0));
            refuses(() -> session.rerank("query", "document"));
        }
    }

    /** Its file has no word on vectors and no "yes" in its vocabulary: the model cannot, or its file is not complete. */
    private static void refuses(Check.Body body) throws Exception {
        try {
            body.run();
        } catch (QwipException e) {
            that(e.status() == QwipException.UNSUPPORTED || e.status() == QwipException.INVALID_MODEL, e.toString());
            return;
        }
        throw new AssertionError("a model for chats did it");
    }

    private static double length(float[] vector) {
        double sum = 0;
        for (float value : vector) {
            sum += value * value;
        }
        return Math.sqrt(sum);
    }
}
