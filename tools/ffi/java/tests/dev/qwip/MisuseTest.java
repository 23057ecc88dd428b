package dev.qwip;

import static dev.qwip.Check.contains;
import static dev.qwip.Check.equal;
import static dev.qwip.Check.fails;
import static dev.qwip.Check.that;

import java.util.concurrent.atomic.AtomicReference;

/** What an app does wrong. */
final class MisuseTest {
    private MisuseTest() {}

    static void busy(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = ChatTest.endless(model, session)) {
            request.start();
            while (request.next(-1).kind() != Event.Kind.TEXT) {
                continue;
            }
            AtomicReference<Throwable> failure = new AtomicReference<>();
            Thread other = new Thread(() -> {
                try {
                    fails(QwipException.BUSY, () -> session.decode(1));
                    fails(QwipException.BUSY, () -> session.truncate(0));
                    fails(QwipException.BUSY, session::length);
                    try (Request second = ChatTest.ask(model, session, "Hello")) {
                        fails(QwipException.BUSY, second::start);
                    }
                } catch (Throwable t) {
                    failure.set(t);
                }
            });
            other.start();
            other.join();
            if (failure.get() != null) {
                throw new AssertionError("in the other thread", failure.get());
            }
            session.cancel();
            that(request.await(5000), "cancelling the session does not end its request");
            session.truncate(0);
        }
    }

    static void closed(Model model) throws Exception {
        Session session = model.newSession();
        Request request = session.newRequest();
        Sampler sampler = model.newSampler();
        long number = session.handle();
        session.close();
        session.close();
        that(session.isClosed(), "not closed");
        contains(fails(QwipException.INVALID_HANDLE, session::length).getMessage(), "the session is closed");
        fails(QwipException.INVALID_HANDLE, session::cancel);
        fails(QwipException.INVALID_HANDLE, session::newRequest);
        fails(QwipException.INVALID_HANDLE, () -> sampler.sample(session));
        // A thread that had fetched the number before.
        fails(QwipException.INVALID_HANDLE, () -> Native.sessionLength(number));
        fails(QwipException.INVALID_HANDLE, () -> Native.sessionDecode(number, new int[] {1}));
        fails(QwipException.INVALID_HANDLE, () -> Native.requestCancel(number));
        fails(QwipException.INVALID_HANDLE, () -> Native.modelInfo(0x1234567));
        request.close();
        fails(QwipException.INVALID_HANDLE, () -> request.next(0));
        fails(QwipException.INVALID_HANDLE, request::cancel);
        sampler.close();
        fails(QwipException.INVALID_HANDLE, () -> sampler.setTopK(1));

        Model other = new Model();
        other.close();
        fails(QwipException.INVALID_HANDLE, other::info);
        fails(QwipException.INVALID_HANDLE, () -> other.openPath("x"));
        fails(QwipException.INVALID_HANDLE, other::load);
    }

    static void broken(Model model) throws Exception {
        try (Session session = model.newSession(); Request request = session.newRequest()) {
            fails(QwipException.INVALID_ARGUMENT, () -> request.setMessages("{"));
            fails(QwipException.INVALID_ARGUMENT, () -> request.setMessages("[{\"role\":\"user\"}, 5]"));
            fails(QwipException.INVALID_ARGUMENT, () -> request.setTools("no JSON"));
            fails(QwipException.INVALID_ARGUMENT, () -> request.setTemplateKwargs("[]"));
            fails(QwipException.INVALID_ARGUMENT, () -> request.setToolChoice("perhaps"));
            fails(QwipException.INVALID_ARGUMENT, () -> request.setMessages("a\0b"));
            fails(QwipException.INVALID_ARGUMENT, () -> request.addStop("\uDE00"));
            fails(QwipException.INVALID_ARGUMENT, () -> request.setMaxTokens(-1));
            fails(QwipException.INVALID_ARGUMENT, () -> request.setThinking(7));
            fails(QwipException.INVALID_ARGUMENT, () -> model.applyTemplate("{]", null, 0));
            fails(QwipException.WRONG_STATE, () -> request.next(0));
            // After all of that it works.
            request.setMessages(new Messages().user("What is qwip?").toString()).setMaxTokens(3);
            that(!ChatTest.text(request).isEmpty(), "no answer");
        }
    }

    /** What can only be found out with the model comes when it is started: as an exception of the loop and of the listener. */
    static void brokenLate(Model model) throws Exception {
        if (!Qwip.hasFeature("constrain")) {
            return;
        }
        try (Session session = model.newSession(); Request request = ChatTest.ask(model, session, "Hello")) {
            request.setJsonSchema("{\"type\": \"nothing\"}");
            fails(QwipException.INVALID_ARGUMENT, () -> ChatTest.text(request));
            fails(QwipException.INVALID_ARGUMENT, () -> request.await(0));
            fails(QwipException.INVALID_ARGUMENT, request::result);
        }
        try (Session session = model.newSession(); Request request = ChatTest.ask(model, session, "Hello")) {
            ChatTest.Heard heard = new ChatTest.Heard();
            request.setGrammar("start: missing").start(heard);
            heard.await();
            that(heard.problem.get() instanceof QwipException, "ended with " + heard.problem.get());
            equal(QwipException.INVALID_ARGUMENT, ((QwipException) heard.problem.get()).status());
        }
    }

    /** Readers on every object while another thread closes them: exceptions, and nothing else. */
    static void closedInUse(Model model) throws Exception {
        for (int round = 0; round < 20; round++) {
            Session session = model.newSession();
            Request request = ChatTest.endless(model, session);
            ChatTest.Heard heard = new ChatTest.Heard();
            request.start(heard);
            AtomicReference<Throwable> failure = new AtomicReference<>();
            Thread reader = new Thread(() -> {
                try {
                    for (;;) {
                        request.await(0);
                        try {
                            session.length();
                        } catch (QwipException e) {
                            if (e.status() != QwipException.BUSY) {
                                throw e;
                            }
                        }
                    }
                } catch (QwipException e) {
                    if (e.status() != QwipException.INVALID_HANDLE) {
                        failure.set(e);
                    }
                } catch (Throwable t) {
                    failure.set(t);
                }
            });
            reader.start();
            Thread.sleep(round / 4);
            if (round % 2 == 0) {
                session.close();
                request.close();
            } else {
                request.close();
                session.close();
            }
            reader.join();
            heard.await();
            equal(null, failure.get());
        }
    }
}
