package dev.qwip.example;

import android.content.Context;
import dev.qwip.Event;
import dev.qwip.Memory;
import dev.qwip.Messages;
import dev.qwip.Model;
import dev.qwip.Request;
import dev.qwip.Session;
import dev.qwip.android.QwipAndroid;
import java.io.File;
import java.io.IOException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * The conversation. It belongs to the process and not to the activity, which comes and goes. What may take time runs on a
 * thread of its own, in order; {@link #stop} does not wait for it.
 */
final class Chat {
    /** Hears what happens, on some thread. */
    interface Screen {
        void append(String text);

        void idle(boolean idle);
    }

    private static final int CONTEXT = 2048;
    private static final long MEMORY_LIMIT = 1L << 30;
    private static Chat only;

    private final ExecutorService worker = Executors.newSingleThreadExecutor();
    private final Messages messages = new Messages();
    private final Context context;
    private Screen screen;
    private volatile Request running;
    private volatile Model model;
    private Session session;
    private final StringBuilder transcript = new StringBuilder();
    private boolean idle;

    private Chat(Context context) {
        this.context = context.getApplicationContext();
        worker.execute(this::load);
    }

    static synchronized Chat of(Context context) {
        if (only == null) {
            only = new Chat(context);
        }
        return only;
    }

    /** On the main thread, as {@link #hide}. */
    synchronized void show(Screen next) {
        screen = next;
        next.append(transcript.toString());
        next.idle(idle);
    }

    /** Another screen may be shown already. */
    synchronized void hide(Screen gone) {
        if (screen == gone) {
            screen = null;
        }
    }

    void ask(String question) {
        worker.execute(() -> answer(question));
    }

    /** Ends the answer that runs. Comes back at once. */
    void stop() {
        Request request = running;
        if (request != null && !request.isClosed()) {
            try {
                request.cancel();
            } catch (RuntimeException closed) {
                // It ended meanwhile.
            }
        }
    }

    /** Out of sight: Android may stop us at any time, and computing there drains the battery. */
    void background() {
        Model loaded = model;
        if (loaded != null) {
            loaded.background();
        }
    }

    /** In sight again: the answer goes on where it was. */
    void foreground() {
        Model loaded = model;
        if (loaded != null) {
            loaded.foreground();
        }
    }

    private void load() {
        Model loading = new Model().setMemoryLimit(MEMORY_LIMIT);
        try {
            open(loading);
            Memory memory = loading.estimate(CONTEXT);
            append("This takes " + memory.dirty / 1_000_000 + " MB of memory and " + memory.mapped / 1_000_000 + " MB of cache.\n\n");
            loading.load();
            session = loading.newSession().setContext(CONTEXT);
            QwipAndroid.watch(context, loading);
            model = loading;
            idle(true);
        } catch (IOException | RuntimeException e) {
            loading.close();
            append("The model could not be loaded: " + e.getMessage() + "\n");
        }
    }

    /** A downloaded model where backups do not look, or the one in the package. */
    private void open(Model loading) throws IOException {
        File downloaded = new File(context.getNoBackupFilesDir(), "model.gguf");
        if (downloaded.exists()) {
            loading.openPath(downloaded.getPath());
        } else {
            QwipAndroid.openAsset(loading, context.getAssets(), "builtin.gguf");
        }
    }

    private void answer(String question) {
        if (session == null) {
            return;
        }
        idle(false);
        append("> " + question + "\n");
        messages.user(question);
        StringBuilder text = new StringBuilder();
        try (Request request = session.newRequest().setMessages(messages.toString())) {
            running = request;
            for (Event event : request) {
                if (event.kind() == Event.Kind.TEXT) {
                    text.append(event.text());
                    append(event.text());
                }
            }
        } catch (RuntimeException e) {
            append("\n" + e.getMessage());
        }
        running = null;
        messages.assistant(text.toString());
        append("\n\n");
        idle(true);
    }

    private synchronized void append(String text) {
        transcript.append(text);
        Screen now = screen;
        if (now != null) {
            now.append(text);
        }
    }

    private synchronized void idle(boolean is) {
        idle = is;
        Screen now = screen;
        if (now != null) {
            now.idle(is);
        }
    }
}
