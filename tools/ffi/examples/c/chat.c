// A chat on the console: `chat MODEL.gguf`. Ctrl-C ends an answer; at the prompt it ends the program.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "qwip.h"

static char *said; // the conversation: the beginning of a JSON list of messages
static size_t length, room;
static volatile sig_atomic_t interrupted;

static void interrupt(int number) { interrupted = number; }

// Adds text as it is, or as the inside of a JSON string: quotes, backslashes and control characters have to be escaped.
static void add(const char *text, int escaped) {
  for (; *text; text++) {
    int code = (unsigned char)*text;
    if (length + 8 > room && !(said = (char *)realloc(said, room = room * 2 + 1000))) exit(1);
    int special = escaped && (code < 0x20 || code == '"' || code == '\\');
    length += (size_t)snprintf(said + length, 8, special ? "\\u%04x" : "%c", code);
  }
}

static void say_error(void) {
  char *message = NULL;
  qwip_last_error(&message);
  printf("[%s]\n", message ? message : "");
  qwip_string_free(message);
}

// Text comes piece by piece, on a thread of the library: it is shown and becomes a part of the conversation.
static int32_t hear(int32_t kind, const char *data, size_t bytes, void *user) {
  (void)bytes, (void)user;
  if (kind == QWIP_EVENT_TEXT) add(data, 1), fputs(data, stdout), fflush(stdout);
  return 0;
}

int main(int count, char **arguments) {
  qwip_model *model = NULL;
  qwip_session *session = NULL;
  char line[4096];
  if (count != 2) return fprintf(stderr, "usage: chat MODEL.gguf\n"), 2;
  if (qwip_model_new(&model) || qwip_model_open_path(model, arguments[1]) || qwip_model_load(model) ||
      qwip_session_new(model, &session)) return say_error(), 1;
  while (fputs("> ", stdout), fflush(stdout), fgets(line, sizeof line, stdin)) {
    size_t before = length;
    line[strcspn(line, "\r\n")] = 0;
    add(length ? ",{\"role\":\"user\",\"content\":\"" : "[{\"role\":\"user\",\"content\":\"", 0);
    add(line, 1);
    add("\"}]", 0);
    qwip_request *request = NULL;
    qwip_status status = qwip_request_new(session, &request);
    if (!status) status = qwip_request_set_messages(request, said);
    length--; // in the place of the list's end comes what is heard
    add(",{\"role\":\"assistant\",\"content\":\"", 0);
    interrupted = 0;
    signal(SIGINT, interrupt);
    if (!status && !(status = qwip_request_start(request, hear, NULL)))
      while ((status = qwip_request_wait(request, 20)) == QWIP_STATUS_TIMEOUT)
        if (interrupted) qwip_request_cancel(request);
    signal(SIGINT, SIG_DFL);
    add("\"}", 0);
    if (status) say_error(), length = before; // as if it had not been said
    qwip_request_free(request);
    puts("");
  }
  qwip_session_free(session);
  qwip_model_free(model);
  free(said);
  return 0;
}
