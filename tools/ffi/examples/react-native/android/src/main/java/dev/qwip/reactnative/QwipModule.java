package dev.qwip.reactnative;

import com.facebook.react.bridge.Promise;
import com.facebook.react.bridge.ReactApplicationContext;
import dev.qwip.Event;
import dev.qwip.Memory;
import dev.qwip.Model;
import dev.qwip.QwipException;
import dev.qwip.Request;
import dev.qwip.Sampler;
import dev.qwip.Session;
import dev.qwip.android.QwipAndroid;
import java.util.Locale;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import org.json.JSONArray;
import org.json.JSONException;
import org.json.JSONObject;

/** The native module over the Java wrapper. NativeQwipSpec is what React Native generates from src/NativeQwip.ts. */
public final class QwipModule extends NativeQwipSpec {
    /** A model, its session, and what tells it of heat and memory. */
    private static final class Chat implements AutoCloseable {
        final Model model;
        final Session session;
        final QwipAndroid signals;

        Chat(Model model, Session session, QwipAndroid signals) {
            this.model = model;
            this.session = session;
            this.signals = signals;
        }

        @Override
        public void close() {
            signals.close();
            session.close();
            model.close();
        }
    }

    private interface Work {
        Object run() throws JSONException;
    }

    // Waiting for an event keeps a thread; there are as many as there are answers on their way.
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final ConcurrentHashMap<Integer, Chat> chats = new ConcurrentHashMap<>();
    private final ConcurrentHashMap<Integer, Request> requests = new ConcurrentHashMap<>();
    private final AtomicInteger numbers = new AtomicInteger();

    public QwipModule(ReactApplicationContext context) {
        super(context);
    }

    @Override
    public void load(String path, double context, double memoryLimit, Promise promise) {
        answer(promise, () -> {
            Model model = new Model();
            try {
                model.setMemoryLimit((long) memoryLimit);
                model.openPath(path);
                model.load();
                Session session = model.newSession();
                try {
                    session.setContext((int) context);
                    session.prepare();
                    int number = numbers.incrementAndGet();
                    chats.put(number, new Chat(model, session, QwipAndroid.watch(getReactApplicationContext(), model)));
                    return (double) number;
                } catch (RuntimeException e) {
                    session.close();
                    throw e;
                }
            } catch (RuntimeException e) {
                model.close();
                throw e;
            }
        });
    }

    @Override
    public void info(double chat, Promise promise) {
        answer(promise, () -> chat(chat).model.info());
    }

    @Override
    public void estimate(String path, double context, Promise promise) {
        answer(promise, () -> {
            try (Model model = new Model()) {
                model.openPath(path);
                Memory memory = model.estimate((int) context);
                return (double) (memory.dirty + memory.gpu);
            }
        });
    }

    @Override
    public void start(double chat, String options, Promise promise) {
        answer(promise, () -> {
            Chat asked = chat(chat);
            JSONObject json = new JSONObject(options);
            Request request = asked.session.newRequest();
            try {
                set(request, asked.model, json);
                request.start();
            } catch (JSONException | RuntimeException e) {
                request.close();
                throw e;
            }
            int number = numbers.incrementAndGet();
            requests.put(number, request);
            return (double) number;
        });
    }

    private static void set(Request request, Model model, JSONObject json) throws JSONException {
        request.setMessages(json.getJSONArray("messages").toString());
        JSONArray tools = json.optJSONArray("tools");
        if (tools != null) {
            request.setTools(tools.toString());
        }
        if (json.has("tool_choice")) {
            request.setToolChoice(json.getString("tool_choice"));
        }
        JSONObject schema = json.optJSONObject("json_schema");
        if (schema != null) {
            request.setJsonSchema(schema.toString());
        }
        if (json.has("thinking")) {
            request.setThinking(json.getBoolean("thinking") ? 1 : 0);
        }
        if (json.has("max_tokens")) {
            request.setMaxTokens(json.getInt("max_tokens"));
        }
        if (json.has("temperature") || json.has("seed")) {
            try (Sampler sampler = model.newSampler()) {
                if (json.has("temperature")) {
                    sampler.setTemperature((float) json.getDouble("temperature"));
                }
                if (json.has("seed")) {
                    sampler.setSeed(json.getLong("seed"));
                }
                request.setSampler(sampler);
            }
        }
    }

    @Override
    public void next(double number, Promise promise) {
        answer(promise, () -> {
            Request request = requests.get((int) number);
            Event event = request == null ? null : request.next(-1);
            if (event == null) {
                return "";
            }
            String kind = event.kind().name().toLowerCase(Locale.ROOT);
            return new JSONObject().put("kind", kind).put("data", event.text()).toString();
        });
    }

    @Override
    public void cancel(double number) {
        Request request = requests.get((int) number);
        if (request != null) {
            request.cancel();
        }
    }

    @Override
    public void close(double number) {
        Request request = requests.remove((int) number);
        if (request != null) {
            threads.execute(request::close);
        }
    }

    @Override
    public void release(double number) {
        Chat chat = chats.remove((int) number);
        if (chat != null) {
            threads.execute(chat::close);
        }
    }

    @Override
    public void invalidate() {
        for (Request request : requests.values()) {
            threads.execute(request::close);
        }
        for (Chat chat : chats.values()) {
            threads.execute(chat::close);
        }
        requests.clear();
        chats.clear();
        threads.shutdown();
        super.invalidate();
    }

    private Chat chat(double number) {
        Chat chat = chats.get((int) number);
        if (chat == null) {
            throw new IllegalStateException("the chat has been released");
        }
        return chat;
    }

    /** Runs it on a thread that may wait, and hands what comes of it to JavaScript. */
    private void answer(Promise promise, Work work) {
        threads.execute(() -> {
            try {
                promise.resolve(work.run());
            } catch (QwipException e) {
                promise.reject("qwip_" + e.status(), e.getMessage(), e);
            } catch (JSONException | RuntimeException e) {
                promise.reject("qwip", e.getMessage(), e);
            }
        });
    }
}
