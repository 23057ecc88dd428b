package dev.qwip;

import static dev.qwip.Check.contains;
import static dev.qwip.Check.equal;
import static dev.qwip.Check.fails;
import static dev.qwip.Check.that;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;

/** Requests. */
final class ChatTest {
    static final String TOOLS = "[{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":"
            + "\"Current weather of a city.\",\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},"
            + "\"required\":[\"city\"]}}}]";
    private static final long SOON_MILLIS = 5000;

    private ChatTest() {}

    /** Greedy, so that every run is the same. */
    static Request ask(Model model, Session session, String question) {
        Request request = session.newRequest();
        try (Sampler sampler = model.newSampler().setTemperature(0)) {
            request.setMessages(new Messages().user(question).toString()).setSampler(sampler).setMaxTokens(200);
        }
        return request;
    }

    /** An answer that goes on until somebody stops it. */
    static Request endless(Model model, Session session) {
        return ask(model, session, "Hello").setIgnoreEos(true).setMaxTokens(1900);
    }

    static String text(Request request) {
        StringBuilder text = new StringBuilder();
        for (Event event : request) {
            if (event.kind() == Event.Kind.TEXT) {
                text.append(event.text());
            }
        }
        return text.toString();
    }

    static class Heard implements Request.Listener {
        final List<Event> events = Collections.synchronizedList(new ArrayList<>());
        final CountDownLatch end = new CountDownLatch(1);
        final AtomicReference<Throwable> problem = new AtomicReference<>();

        @Override
        public void onEvent(Event event) {
            events.add(event);
        }

        @Override
        public void onEnd(Throwable thrown) {
            problem.set(thrown);
            end.countDown();
        }

        void await() throws InterruptedException {
            that(end.await(60, TimeUnit.SECONDS), "no end in 60 s");
        }
    }

    static void iterator(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = ask(model, session, "What is qwip?")) {
            List<Event.Kind> kinds = new ArrayList<>();
            StringBuilder text = new StringBuilder();
            for (Event event : request) {
                if (kinds.isEmpty() || kinds.get(kinds.size() - 1) != event.kind()) {
                    kinds.add(event.kind());
                }
                if (event.kind() == Event.Kind.TEXT) {
                    text.append(event.text());
                } else if (event.kind() == Event.Kind.FINISH) {
                    equal("stop", event.text());
                } else if (event.kind() == Event.Kind.USAGE) {
                    contains(event.text(), "\"prompt_tokens\":");
                }
            }
            contains(text.toString(), "runtime");
            if (kinds.get(0) == Event.Kind.PROGRESS) {
                kinds.remove(0);
            }
            equal("[TEXT, USAGE, FINISH]", kinds.toString());
            that(request.next(0) == null, "an event after the last");
            fails(QwipException.WRONG_STATE, request::start);
            that(session.length() > 0, "the session holds nothing");
        }
    }

    static void listener(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = ask(model, session, "What is qwip?")) {
            Heard heard = new Heard();
            request.start(heard);
            heard.await();
            equal(null, heard.problem.get());
            StringBuilder text = new StringBuilder();
            for (Event event : heard.events) {
                if (event.kind() == Event.Kind.TEXT) {
                    text.append(event.text());
                }
            }
            equal(Event.Kind.FINISH, heard.events.get(heard.events.size() - 1).kind());
            try (Session other = model.newSession(); Request again = ask(model, other, "What is qwip?")) {
                equal(text(again), text.toString());
            }
        }
    }

    static void chinese(Model model) {
        try (Session session = model.newSession(); Request request = ask(model, session, "你好")) {
            String text = text(request);
            that(text.codePoints().anyMatch(c -> Character.UnicodeScript.of(c) == Character.UnicodeScript.HAN), "no Chinese in <" + text + ">");
            that(text.indexOf('\uFFFD') < 0, "a broken character in <" + text + ">");
        }
    }

    static void tools(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = ask(model, session, "What is the weather in Paris?")) {
            request.setTools(TOOLS);
            if (Qwip.hasFeature("constrain")) {
                request.setToolChoice("required");
            } else {
                fails(QwipException.UNSUPPORTED, () -> request.setToolChoice("required"));
            }
            List<String> calls = new ArrayList<>();
            String finish = "";
            for (Event event : request) {
                if (event.kind() == Event.Kind.TOOL_CALL) {
                    calls.add(event.text());
                } else if (event.kind() == Event.Kind.FINISH) {
                    finish = event.text();
                }
            }
            equal(1, calls.size());
            contains(calls.get(0), "\"name\":\"get_weather\"");
            contains(calls.get(0), "city");
            equal("tool_calls", finish);

            Messages messages = new Messages().user("What is the weather in Paris?").assistant("", calls);
            String id = calls.get(0).replaceAll(".*\"id\":\"([^\"]*)\".*", "$1");
            messages.tool(id, "{\"weather\":\"sunny\",\"celsius\":21}");
            try (Request next = session.newRequest(); Sampler sampler = model.newSampler().setTemperature(0)) {
                next.setMessages(messages.toString()).setTools(TOOLS).setSampler(sampler).setMaxTokens(100);
                that(!text(next).isEmpty(), "no answer after the tool's");
            }
        }
    }

    static void schema(Model model) {
        if (!Qwip.hasFeature("constrain")) {
            return;
        }
        try (Session session = model.newSession(); Request request = ask(model, session, "Name a colour")) {
            request.setJsonSchema("{\"type\":\"object\",\"properties\":{\"colour\":{\"enum\":[\"red\",\"green\"]},"
                    + "\"n\":{\"type\":\"integer\",\"minimum\":1,\"maximum\":9}},\"required\":[\"colour\",\"n\"],\"additionalProperties\":false}");
            String text = text(request);
            that(text.matches("\\{\\s*\"colour\"\\s*:\\s*\"(red|green)\"\\s*,\\s*\"n\"\\s*:\\s*[1-9]\\s*\\}"), "not by the schema: " + text);
        }
    }

    static void grammar(Model model) {
        if (!Qwip.hasFeature("constrain")) {
            return;
        }
        try (Session session = model.newSession(); Request request = ask(model, session, "yes or no?")) {
            equal("maybe", text(request.setGrammar("start: \"maybe\"")));
        }
    }

    static void settings(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = endless(model, session)) {
            request.setMaxTokens(5).setParallelToolCalls(false).setTemplateKwargs("{\"enable_thinking\": false}");
            fails(QwipException.WRONG_STATE, request::result);
            request.start();
            that(request.await(60_000), "not over in 60 s");
            String result = request.result();
            contains(result, "\"finish_reason\":\"length\"");
            contains(result, "\"completion_tokens\":5");
            contains(result, "\"role\":\"assistant\"");
            fails(QwipException.WRONG_STATE, () -> request.setMaxTokens(6));
        }
        String whole;
        try (Session session = model.newSession(); Request request = ask(model, session, "What is qwip?")) {
            whole = text(request);
        }
        String stop = whole.substring(whole.length() / 2, whole.length() / 2 + 4);
        try (Session session = model.newSession(); Request request = ask(model, session, "What is qwip?").addStop("never there").addStop(stop)) {
            equal(whole.substring(0, whole.indexOf(stop)), text(request));
        }
        try (Session session = model.newSession(); Request request = session.newRequest(); Sampler sampler = model.newSampler().setTemperature(0)) {
            request.setPrompt(model.applyTemplate(new Messages().user("What is qwip?").toString(), null, Model.THINKING_OFF));
            equal(whole, text(request.setSampler(sampler)));
        }
    }

    static void thinking(Model model) {
        try (Session session = model.newSession(); Request request = ask(model, session, "What is 2 + 3?")) {
            request.setThinking(Model.THINKING_ON).setThinkingBudget(50);
            StringBuilder reasoning = new StringBuilder();
            for (Event event : request) {
                if (event.kind() == Event.Kind.REASONING) {
                    reasoning.append(event.text());
                }
            }
            that(reasoning.length() > 0, "it did not think");
        }
    }

    static void cancel(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = endless(model, session)) {
            request.start();
            while (request.next(-1).kind() != Event.Kind.TEXT) {
                continue;
            }
            Thread other = new Thread(request::cancel);
            other.start();
            other.join();
            String finish = null;
            for (Event event = request.next(SOON_MILLIS); event != null; event = request.next(SOON_MILLIS)) {
                that(event.kind() != Event.Kind.NONE, "still running after " + SOON_MILLIS + " ms");
                if (event.kind() == Event.Kind.FINISH) {
                    finish = event.text();
                }
            }
            equal("cancelled", finish);
            that(session.length() < 1900, "it ran to its end");
            request.cancel();
            // The session goes on with the next one.
            try (Request next = ask(model, session, "What is qwip?")) {
                contains(text(next), "runtime");
            }
        }
    }

    static void closedByListener(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = endless(model, session)) {
            Heard heard = new Heard() {
                @Override
                public void onEvent(Event event) {
                    super.onEvent(event);
                    if (event.kind() == Event.Kind.TEXT) {
                        request.close();
                    }
                }
            };
            request.start(heard);
            heard.await();
            that(heard.problem.get() instanceof QwipException, "ended with " + heard.problem.get());
            equal(QwipException.INVALID_HANDLE, ((QwipException) heard.problem.get()).status());
            that(request.isClosed(), "still open");
            try (Request next = ask(model, session, "What is qwip?")) {
                contains(text(next), "runtime");
            }
        }
    }

    static void listenerThrows(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = endless(model, session)) {
            IllegalStateException mine = new IllegalStateException("mine");
            Heard heard = new Heard() {
                @Override
                public void onEvent(Event event) {
                    throw mine;
                }
            };
            request.start(heard);
            heard.await();
            that(heard.problem.get() == mine, "ended with " + heard.problem.get());
            that(request.await(SOON_MILLIS), "it was not cancelled");
            contains(request.result(), "\"finish_reason\":\"cancelled\"");
        }
    }

    static void host(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = endless(model, session)) {
            request.start();
            while (request.next(-1).kind() != Event.Kind.TEXT) {
                continue;
            }
            model.onThermal(Model.THERMAL_FAIR);
            model.background();
            while (request.next(0) != Event.NONE) {
                continue;
            }
            equal(Event.Kind.NONE, request.next(300).kind());
            try (Session other = model.newSession(); Request waiting = ask(model, other, "What is qwip?")) {
                fails(QwipException.BACKGROUND, () -> other.decode(1));
                waiting.start();
                that(!waiting.await(200), "it computes in the background");
                model.foreground();
                that(waiting.await(60_000), "it still waits");
            }
            model.onThermal(Model.THERMAL_NOMINAL);
            model.onMemoryPressure(Model.PRESSURE_MODERATE);
            that(request.await(120_000), "it does not go on");
            contains(request.result(), "\"finish_reason\":\"length\"");
            model.onMemoryPressure(Model.PRESSURE_CRITICAL);
            model.onMemoryPressure(Model.PRESSURE_NORMAL);
            try (Request next = ask(model, session, "What is qwip?")) {
                contains(text(next), "runtime");
            }
            fails(QwipException.INVALID_ARGUMENT, () -> model.onMemoryPressure(9));
            fails(QwipException.INVALID_ARGUMENT, () -> model.onThermal(-1));
        }
    }
}
