import dev.qwip.Event;
import dev.qwip.Messages;
import dev.qwip.Model;
import dev.qwip.QwipException;
import dev.qwip.Request;
import dev.qwip.Session;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * A chat in the terminal: {@code java ConsoleChat MODEL.gguf}. An empty line while it answers stops the answer; Ctrl-C ends
 * the program (Java has no public way to do something else on it). The end of the input or "exit" ends it as well.
 */
public final class ConsoleChat {
    private final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    private final PrintStream out = new PrintStream(System.out, true, "UTF-8");
    private final Messages messages = new Messages();

    private ConsoleChat() throws Exception {}

    public static void main(String[] args) throws Exception {
        if (args.length != 1) {
            System.err.println("usage: java ConsoleChat MODEL.gguf");
            System.exit(2);
        }
        try (Model model = Model.load(args[0]); Session session = model.newSession()) {
            new ConsoleChat().chat(session);
        } catch (QwipException e) {
            System.err.println("qwip: " + e.getMessage());
            System.exit(1);
        }
    }

    private void chat(Session session) throws Exception {
        for (;;) {
            out.print("> ");
            out.flush();
            String line = in.readLine();
            if (line == null || line.equals("exit")) {
                return;
            }
            if (line.isEmpty()) {
                continue;
            }
            messages.user(line);
            try (Request request = session.newRequest().setMessages(messages.toString())) {
                messages.assistant(answer(request));
            }
        }
    }

    /** Prints the answer as it comes. The session knows the conversation so far: only what is new is computed. */
    private String answer(Request request) throws Exception {
        StringBuilder text = new StringBuilder();
        boolean terminal = System.console() != null;
        request.start();
        for (Event event = request.next(100); event != null; event = request.next(100)) {
            if (event.kind() == Event.Kind.TEXT) {
                text.append(event.text());
                out.print(event.text());
                out.flush();
            }
            if (terminal && in.ready()) {
                in.readLine();
                request.cancel();
            }
        }
        out.println();
        return text.toString();
    }
}
