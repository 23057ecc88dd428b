package dev.qwip.example;

import android.app.Activity;
import android.os.Bundle;
import android.widget.Button;
import android.widget.EditText;
import android.widget.LinearLayout;
import android.widget.ScrollView;
import android.widget.TextView;

/** A text that grows, a line to write in and a button that sends it, or stops the answer. */
public final class ChatActivity extends Activity implements Chat.Screen {
    private Chat chat;
    private TextView text;
    private EditText line;
    private Button button;
    private boolean idle;

    @Override
    protected void onCreate(Bundle state) {
        super.onCreate(state);
        text = new TextView(this);
        ScrollView scroll = new ScrollView(this);
        scroll.addView(text);
        line = new EditText(this);
        button = new Button(this);
        button.setText("Stop");
        button.setOnClickListener(view -> pressed());
        LinearLayout all = new LinearLayout(this);
        all.setOrientation(LinearLayout.VERTICAL);
        all.addView(scroll, new LinearLayout.LayoutParams(LinearLayout.LayoutParams.MATCH_PARENT, 0, 1));
        all.addView(line);
        all.addView(button);
        setContentView(all);
        chat = Chat.of(this);
        chat.show(this);
    }

    @Override
    protected void onStart() {
        super.onStart();
        chat.foreground();
    }

    @Override
    protected void onStop() {
        // Comes back within 50 ms, and then nothing computes any more.
        chat.background();
        super.onStop();
    }

    @Override
    protected void onDestroy() {
        chat.hide(this);
        super.onDestroy();
    }

    @Override
    public void append(String more) {
        runOnUiThread(() -> text.append(more));
    }

    @Override
    public void idle(boolean now) {
        runOnUiThread(() -> {
            idle = now;
            button.setText(now ? "Send" : "Stop");
        });
    }

    private void pressed() {
        if (!idle) {
            chat.stop();
            return;
        }
        String question = line.getText().toString().trim();
        if (!question.isEmpty()) {
            line.setText("");
            chat.ask(question);
        }
    }
}
