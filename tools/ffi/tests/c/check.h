// What the programs of this folder share. Each is a test of its own: it ends with 0 if all holds, and with the place of what
// does not otherwise. C11 and C++17.
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "qwip.h"

#ifdef __cplusplus
#define THREAD_LOCAL thread_local
#else
#define THREAD_LOCAL _Thread_local
#endif

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))
// The call returns this status.
#define IS(status, call) check_status(__FILE__, __LINE__, #call, status, call)
#define OK(call) IS(QWIP_STATUS_OK, call)
// The texts are equal.
#define SAME(a, b) check_same(__FILE__, __LINE__, #a " and " #b, a, b)
// `part` occurs in `whole`.
#define HAS(whole, part) check_has(__FILE__, __LINE__, whole, part)

static inline void check_failed(const char *file, int line, const char *what) {
  fprintf(stderr, "%s:%d: %s\n", file, line, what);
  exit(1);
}

static inline void check_status(const char *file, int line, const char *call, qwip_status want, qwip_status found) {
  if (want == found) return;
  char *message = NULL;
  qwip_last_error(&message);
  fprintf(stderr, "%s:%d: %s is %s, not %s; the last message of this thread: %s\n", file, line, call,
          qwip_status_name(found), qwip_status_name(want), message ? message : "?");
  exit(1);
}

static inline void check_same(const char *file, int line, const char *what, const char *a, const char *b) {
  if (a && b && strcmp(a, b) == 0) return;
  fprintf(stderr, "%s:%d: %s differ:\n  %s\n  %s\n", file, line, what, a ? a : "NULL", b ? b : "NULL");
  exit(1);
}

static inline void check_has(const char *file, int line, const char *whole, const char *part) {
  if (whole && strstr(whole, part)) return;
  fprintf(stderr, "%s:%d: no \"%s\" in: %s\n", file, line, part, whole ? whole : "NULL");
  exit(1);
}

// Fewer repetitions, and more patience: under valgrind. 1 or 0.
static inline int is_slow(void) { return getenv("QWIP_TEST_SLOW") != NULL; }

// So many times; `fewer` where everything takes long.
static inline int times(int many, int fewer) { return is_slow() ? fewer : many; }

// Whether the memory that the process takes is what the library takes: not with an allocator that looks for mistakes.
static inline int is_memory_real(void) {
#ifdef __SANITIZE_ADDRESS__
  return 0;
#else
  return !is_slow();
#endif
}

// Milliseconds of a clock that only goes forward.
static inline double now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

// Milliseconds that the processors have worked for this process.
static inline double cpu_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec * 1e-6;
}

static inline void sleep_ms(int ms) {
  struct timespec time;
  time.tv_sec = ms / 1000;
  time.tv_nsec = (long)(ms % 1000) * 1000000;
  nanosleep(&time, NULL);
}

// Text that grows.
typedef struct {
  char *data;
  size_t length;
} Text;

static inline void text_add(Text *text, const char *data, size_t length) {
  text->data = (char *)realloc(text->data, text->length + length + 1);
  CHECK(text->data);
  memcpy(text->data + text->length, data, length);
  text->length += length;
  text->data[text->length] = 0;
}

static inline void text_say(Text *text, const char *words) { text_add(text, words, strlen(words)); }

// The number behind `"key":` in JSON; -1 if there is none.
static inline long json_number(const char *json, const char *key) {
  char quoted[100];
  snprintf(quoted, sizeof quoted, "\"%s\":", key);
  const char *found = json ? strstr(json, quoted) : NULL;
  return found ? strtol(found + strlen(quoted), NULL, 10) : -1;
}

static inline char *read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  CHECK(file);
  fseek(file, 0, SEEK_END);
  *length = (size_t)ftell(file);
  rewind(file);
  char *data = (char *)malloc(*length + 1);
  CHECK(data && fread(data, 1, *length, file) == *length);
  data[*length] = 0;
  fclose(file);
  return data;
}

static inline void write_file(const char *path, const char *data, size_t length) {
  FILE *file = fopen(path, "wb");
  CHECK(file && fwrite(data, 1, length, file) == length && fclose(file) == 0);
}

// A path in the folder for temporary files, of this process alone.
static inline const char *temporary(const char *name) {
  static THREAD_LOCAL char path[400];
  const char *folder = getenv("TMPDIR");
  snprintf(path, sizeof path, "%s/qwip-c-%d-%s", folder ? folder : "/tmp", (int)getpid(), name);
  return path;
}

// A new model on two threads; on one where threads take turns, and waiting for each other costs more than the work.
static inline qwip_model *new_model(void) {
  qwip_model *model;
  OK(qwip_model_new(&model));
  OK(qwip_model_set_threads(model, is_slow() ? 1 : 2));
  return model;
}

static inline qwip_model *load(const char *path) {
  qwip_model *model = new_model();
  OK(qwip_model_open_path(model, path));
  OK(qwip_model_load(model));
  return model;
}

static inline qwip_session *session_of(qwip_model *model) {
  qwip_session *session;
  OK(qwip_session_new(model, &session));
  return session;
}

// Has `handle`'s message in a buffer of this thread.
static inline const char *error_of(qwip_status (*ask)(char **message)) {
  static THREAD_LOCAL char buffer[500];
  char *message;
  CHECK(ask(&message) == QWIP_STATUS_OK);
  snprintf(buffer, sizeof buffer, "%s", message);
  qwip_string_free(message);
  return buffer;
}
#define LAST_ERROR error_of(qwip_last_error)

// What to ask; `ask_of` fills in the rest.
typedef struct {
  const char *messages, *prompt, *tools, *choice, *schema, *grammar, *kwargs;
  const char *stop[4];
  int thinking, budget, max_tokens, single_call, ignore_eos, poll;
  float temperature;
  uint64_t seed;
} Ask;

static inline Ask ask_of(const char *messages) {
  Ask ask;
  memset(&ask, 0, sizeof ask);
  ask.messages = messages;
  ask.thinking = ask.budget = -1;
  ask.max_tokens = 60;
  ask.seed = 7;
  return ask;
}

// What came of it.
typedef struct Answer {
  Text text, reasoning, calls, usage, finish, error, result;
  int events, progress;
  qwip_status status;
  qwip_request *request;
  // Is asked behind every event whether to go on, if it is set.
  int (*hook)(struct Answer *answer, int32_t kind);
  void *user;
} Answer;

static inline int32_t hear(int32_t kind, const char *data, size_t length, void *user) {
  Answer *answer = (Answer *)user;
  CHECK(strlen(data) == length && answer->finish.length == 0 && answer->error.length == 0);
  answer->events++;
  switch (kind) {
    case QWIP_EVENT_PROGRESS: answer->progress++; break;
    case QWIP_EVENT_TEXT: text_add(&answer->text, data, length); break;
    case QWIP_EVENT_REASONING: text_add(&answer->reasoning, data, length); break;
    case QWIP_EVENT_TOOL_CALL:
      text_add(&answer->calls, data, length);
      text_say(&answer->calls, "\n");
      break;
    case QWIP_EVENT_USAGE: text_add(&answer->usage, data, length); break;
    case QWIP_EVENT_FINISH: text_add(&answer->finish, data, length); break;
    case QWIP_EVENT_ERROR: text_add(&answer->error, data, length); break;
    default: CHECK(0);
  }
  return answer->hook ? answer->hook(answer, kind) : 0;
}

static inline qwip_request *request_of(qwip_model *model, qwip_session *session, const Ask *ask) {
  qwip_request *request;
  qwip_sampler *sampler;
  OK(qwip_request_new(session, &request));
  OK(qwip_sampler_new(model, &sampler));
  OK(qwip_sampler_set_temperature(sampler, ask->temperature));
  OK(qwip_sampler_set_seed(sampler, ask->seed));
  OK(qwip_request_set_sampler(request, sampler));
  OK(qwip_sampler_free(sampler));
  if (ask->messages) OK(qwip_request_set_messages(request, ask->messages));
  if (ask->prompt) OK(qwip_request_set_prompt(request, ask->prompt));
  if (ask->tools) OK(qwip_request_set_tools(request, ask->tools));
  if (ask->choice) OK(qwip_request_set_tool_choice(request, ask->choice));
  if (ask->schema) OK(qwip_request_set_json_schema(request, ask->schema));
  if (ask->grammar) OK(qwip_request_set_grammar(request, ask->grammar));
  if (ask->kwargs) OK(qwip_request_set_template_kwargs(request, ask->kwargs));
  for (int i = 0; i < 4 && ask->stop[i]; i++) OK(qwip_request_add_stop(request, ask->stop[i]));
  if (ask->budget >= 0) OK(qwip_request_set_thinking_budget(request, (uint32_t)ask->budget));
  if (ask->max_tokens >= 0) OK(qwip_request_set_max_tokens(request, (uint32_t)ask->max_tokens));
  OK(qwip_request_set_thinking(request, ask->thinking));
  OK(qwip_request_set_parallel_tool_calls(request, !ask->single_call));
  OK(qwip_request_set_ignore_eos(request, ask->ignore_eos));
  return request;
}

// Waits for the end of a started request, fetches the result and frees the request.
static inline void end_of(Answer *answer) {
  answer->status = qwip_request_wait(answer->request, -1);
  char *json;
  if (answer->status == QWIP_STATUS_OK) {
    OK(qwip_request_result(answer->request, &json));
    text_say(&answer->result, json);
    qwip_string_free(json);
    CHECK(answer->finish.length && answer->usage.length && !answer->error.length);
  } else {
    IS(answer->status, qwip_request_result(answer->request, &json));
    CHECK(!json);
    CHECK(answer->error.length && !answer->finish.length);
  }
  OK(qwip_request_free(answer->request));
}

// Begins an answer that is heard by callback. `end_of` ends it.
static inline void begin(Answer *answer, qwip_model *model, qwip_session *session, const Ask *ask) {
  memset(answer, 0, offsetof(Answer, hook));
  answer->request = request_of(model, session, ask);
  OK(qwip_request_start(answer->request, hear, answer));
}

// A whole answer.
static inline Answer answer_of(qwip_model *model, qwip_session *session, const Ask *ask) {
  Answer answer;
  memset(&answer, 0, sizeof answer);
  if (!ask->poll) {
    begin(&answer, model, session, ask);
  } else {
    answer.request = request_of(model, session, ask);
    OK(qwip_request_start(answer.request, NULL, NULL));
    for (;;) {
      int32_t kind;
      char *data;
      qwip_status status = qwip_request_poll(answer.request, 20, &kind, &data);
      if (status == QWIP_STATUS_DONE) break;
      if (status == QWIP_STATUS_TIMEOUT) continue;
      OK(status);
      hear(kind, data, strlen(data), &answer);
      qwip_string_free(data);
    }
  }
  end_of(&answer);
  return answer;
}

static inline void answer_free(Answer *answer) {
  Text *texts[] = {&answer->text,  &answer->reasoning, &answer->calls, &answer->usage,
                   &answer->finish, &answer->error,     &answer->result};
  for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]->data);
  memset(answer, 0, offsetof(Answer, hook));
}

#endif
