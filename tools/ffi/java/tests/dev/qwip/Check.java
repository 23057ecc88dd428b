package dev.qwip;

import java.util.Objects;

/** What the tests need of a test library. */
final class Check {
    private static int passed;
    private static int failed;

    private Check() {}

    interface Body {
        void run() throws Exception;
    }

    static void test(String name, Body body) {
        long started = System.nanoTime();
        try {
            body.run();
            passed++;
            System.out.println("ok      " + name + " (" + (System.nanoTime() - started) / 1_000_000 + " ms)");
        } catch (Throwable t) {
            failed++;
            System.out.println("FAILED  " + name);
            t.printStackTrace(System.out);
        }
    }

    /** Says how it went and ends the program. */
    static void end() {
        System.out.println(passed + " passed, " + failed + " failed");
        System.exit(failed == 0 && passed > 0 ? 0 : 1);
    }

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object expected, Object found) {
        that(Objects.equals(expected, found), "expected <" + expected + ">, found <" + found + ">");
    }

    static void contains(String text, String part) {
        that(text.contains(part), "no <" + part + "> in <" + text + ">");
    }

    /** {@code body} throws this status, with a message. */
    static QwipException fails(int status, Body body) throws Exception {
        try {
            body.run();
        } catch (QwipException e) {
            equal(Qwip.statusName(status), Qwip.statusName(e.status()));
            that(e.getMessage() != null && !e.getMessage().isEmpty(), "an empty message");
            that(e.getMessage().indexOf('\n') < 0, "more than one line: " + e.getMessage());
            return e;
        }
        throw new AssertionError("nothing was thrown, " + Qwip.statusName(status) + " was expected");
    }
}
