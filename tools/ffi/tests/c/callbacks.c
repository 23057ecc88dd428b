// Threads and callbacks that do what they should not, and text that is none.
#include "check.h"

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"
#define BUSY(call) IS(QWIP_STATUS_BUSY, call)

static qwip_model *model;

// Everything that a callback may and may not do while the session is in use.
static void meddle(Answer *answer) {
  qwip_session *session = (qwip_session *)answer->user, *new_session;
  qwip_request *other;
  char *text;
  size_t count;
  uint32_t token = 1;
  float value;
  double score;
  int32_t event;
  BUSY(qwip_request_wait(answer->request, -1));
  BUSY(qwip_request_free(answer->request));
  BUSY(qwip_session_free(session));
  BUSY(qwip_session_decode(session, &token, 1));
  BUSY(qwip_session_logits(session, &value, 1, &count));
  BUSY(qwip_session_embed(session, "x", 1, 0, &value, 1, &count));
  BUSY(qwip_session_rerank(session, "x", "x", &score));
  BUSY(qwip_session_fork(session, &new_session));
  BUSY(qwip_session_truncate(session, 0));
  BUSY(qwip_session_save(session, "x"));
  BUSY(qwip_session_restore(session, "x"));
  BUSY(qwip_session_prepare(session));
  BUSY(qwip_session_set_context(session, 64));
  BUSY(qwip_session_length(session, &count));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_start(answer->request, hear, answer));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_poll(answer->request, 0, &event, &text));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_result(answer->request, &text));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_set_max_tokens(answer->request, 7));
  // A second request on the session can be made, but not be started.
  OK(qwip_request_new(session, &other));
  OK(qwip_request_set_messages(other, USER("Hi")));
  BUSY(qwip_request_start(other, NULL, NULL));
  OK(qwip_request_free(other));
  // What needs nothing that is in use.
  OK(qwip_request_error(answer->request, &text));
  qwip_string_free(text);
  OK(qwip_model_info(model, &text));
  qwip_string_free(text);
  OK(qwip_model_on_memory_pressure(model, QWIP_PRESSURE_CRITICAL));
  OK(qwip_model_on_thermal(model, answer->events % 4));
  OK(qwip_model_background(model));
  OK(qwip_model_foreground(model));
  OK(qwip_session_new(model, &new_session));
  OK(qwip_session_set_context(new_session, 64));
  OK(qwip_session_decode(new_session, &token, 1));
  OK(qwip_session_free(new_session));
}

// The last two events come when the session is free again.
static int meddle_while_in_use(Answer *answer, int32_t kind) {
  if (kind == QWIP_EVENT_USAGE || kind == QWIP_EVENT_FINISH) {
    BUSY(qwip_request_wait(answer->request, -1));
    BUSY(qwip_request_free(answer->request));
    BUSY(qwip_session_free((qwip_session *)answer->user));
    return 0;
  }
  meddle(answer);
  return 0;
}

static void reentrant(void) {
  qwip_session *session = session_of(model);
  Ask ask = ask_of(USER("What is qwip?"));
  Answer quiet = answer_of(model, session, &ask), loud;
  memset(&loud, 0, sizeof loud);
  loud.hook = meddle_while_in_use;
  loud.user = session;
  begin(&loud, model, session, &ask);
  end_of(&loud);
  SAME(quiet.text.data, loud.text.data);
  SAME(quiet.finish.data, loud.finish.data);
  OK(qwip_model_on_thermal(model, QWIP_THERMAL_NOMINAL));
  answer_free(&quiet);
  answer_free(&loud);
  OK(qwip_session_free(session));
}

static int returned;
static int give_back(Answer *answer, int32_t kind) {
  (void)kind;
  return answer->events == 4 ? returned : 0;
}

static int cancel_here(Answer *answer, int32_t kind) {
  (void)kind;
  if (answer->events == 3) OK(qwip_request_cancel(answer->request));
  return 0;
}

static int cancel_session_here(Answer *answer, int32_t kind) {
  (void)kind;
  if (answer->events == 3) OK(qwip_session_cancel((qwip_session *)answer->user));
  return 0;
}

static void garbage(void) {
  static const int values[] = {INT_MIN, -1, 7, INT_MAX, 1};
  qwip_session *session = session_of(model);
  Ask ask = ask_of(USER("What is qwip?"));
  Answer whole = answer_of(model, session, &ask);
  for (int i = 0; i < 7; i++) {
    Answer cut;
    memset(&cut, 0, sizeof cut);
    cut.hook = i == 5 ? cancel_here : i == 6 ? cancel_session_here : give_back;
    cut.user = session;
    returned = i < 5 ? values[i] : 0;
    begin(&cut, model, session, &ask);
    end_of(&cut);
    OK(cut.status);
    SAME(cut.finish.data, "cancelled");
    HAS(cut.result.data, "\"finish_reason\":\"cancelled\"");
    CHECK(cut.text.length < whole.text.length && cut.events < 12);
    CHECK(strncmp(cut.text.data, whole.text.data, cut.text.length) == 0);
    answer_free(&cut);
  }
  // It goes on as if nothing had been.
  Answer again = answer_of(model, session, &ask);
  SAME(again.text.data, whole.text.data);
  answer_free(&again);
  answer_free(&whole);
  OK(qwip_session_free(session));
}

// A callback that does not return.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int stuck, released;

static int get_stuck(Answer *answer, int32_t kind) {
  (void)answer;
  if (kind != QWIP_EVENT_TEXT) return 0;
  pthread_mutex_lock(&mutex);
  stuck = 1;
  pthread_cond_broadcast(&changed);
  while (!released) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
  return 0;
}

static void never_returns(void) {
  qwip_session *session = session_of(model), *other = session_of(model);
  Ask ask = ask_of(USER("What is qwip?"));
  Answer answer;
  memset(&answer, 0, sizeof answer);
  answer.hook = get_stuck;
  begin(&answer, model, session, &ask);
  pthread_mutex_lock(&mutex);
  while (!stuck) pthread_cond_wait(&changed, &mutex);
  pthread_mutex_unlock(&mutex);
  double start = now_ms();
  IS(QWIP_STATUS_TIMEOUT, qwip_request_wait(answer.request, 0));
  IS(QWIP_STATUS_TIMEOUT, qwip_request_wait(answer.request, 30));
  OK(qwip_request_cancel(answer.request));
  OK(qwip_session_cancel(session));
  IS(QWIP_STATUS_TIMEOUT, qwip_request_wait(answer.request, 30));
  uint32_t token = 1;
  BUSY(qwip_session_decode(session, &token, 1));
  OK(qwip_model_background(model));
  OK(qwip_model_foreground(model));
  OK(qwip_model_on_memory_pressure(model, QWIP_PRESSURE_CRITICAL));
  CHECK(now_ms() - start < (is_slow() ? 5000 : 500));
  start = now_ms();
  BUSY(qwip_request_free(answer.request));
  BUSY(qwip_session_free(session));
  CHECK(now_ms() - start < (is_slow() ? 20000 : 3000));
  // Others are not held up.
  Answer free_one = answer_of(model, other, &ask);
  SAME(free_one.finish.data, "stop");
  pthread_mutex_lock(&mutex);
  released = 1;
  pthread_cond_broadcast(&changed);
  pthread_mutex_unlock(&mutex);
  end_of(&answer);
  SAME(answer.finish.data, "cancelled");
  answer_free(&answer);
  answer_free(&free_one);
  OK(qwip_session_free(session));
  OK(qwip_session_free(other));
}

// Two threads on one session: one works, the other is told so.
static int done;
enum { LONG = 1500 };
static void *decode_long(void *session) {
  static uint32_t tokens[LONG];
  size_t count = (size_t)times(LONG, 100);
  for (int i = 0; i < LONG; i++) tokens[i] = (uint32_t)(i % 4000);
  while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST)) {
    qwip_status status = qwip_session_truncate((qwip_session *)session, 0);
    if (status == QWIP_STATUS_OK) status = qwip_session_decode((qwip_session *)session, tokens, count);
    if (status != QWIP_STATUS_BUSY) OK(status);
  }
  return NULL;
}

static void two_threads(void) {
  qwip_session *session = session_of(model);
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, decode_long, session) == 0);
  size_t count;
  for (int busy = 0; busy < 5; sleep_ms(1)) {
    qwip_status status = qwip_session_length(session, &count);
    if (status != QWIP_STATUS_BUSY) {
      OK(status);
      continue;
    }
    HAS(LAST_ERROR, "one at a time");
    busy++;
  }
  __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
  pthread_join(thread, NULL);
  OK(qwip_session_length(session, &count));
  CHECK(count == 0 || count == (size_t)times(LONG, 100));
  OK(qwip_session_free(session));
}

// JSON that is none, is too deep, too long, or means nothing: refused at once or, at the latest, by the request.
static void texts(void) {
  static const char *const broken[] = {"", "{", "[", "nothing", "[{]", "[1,]", "\"\\ud800\"", "[\"\xff\"]", "\xc3\x28", "{\"a\":1}x",
                                       "[{\"role\":\"user\",\"content\":\"\xed\xa0\x80\"}]"};
  static const char *const strange[] = {
      "[]", "7", "null", "{}", "[7]", "[null]", "[{}]", "[{\"role\":7}]", "[{\"role\":\"user\"}]",
      "[{\"role\":\"nobody\",\"content\":\"x\"}]", "[{\"role\":\"user\",\"content\":7}]",
      "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]", "[{\"role\":\"user\",\"content\":{\"a\":[]}}]",
      "[{\"role\":\"assistant\",\"content\":null}]", "[{\"role\":\"assistant\",\"content\":\"x\",\"tool_calls\":7}]",
      "[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"function\":{\"name\":7,\"arguments\":\"{\"}}]}]",
      "[{\"role\":\"tool\",\"content\":\"x\"}]", "[{\"role\":\"system\",\"content\":\"a\"},{\"role\":\"system\",\"content\":\"b\"}]",
      USER("\\u0000"), USER("<|im_start|>system")};
  qwip_session *session = session_of(model);
  qwip_request *request;
  for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
    OK(qwip_request_new(session, &request));
    IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_messages(request, broken[i]));
    IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_tools(request, broken[i]));
    IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_json_schema(request, broken[i]));
    IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_template_kwargs(request, broken[i]));
    IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_tool_choice(request, broken[i]));
    char *message;
    OK(qwip_request_error(request, &message));
    CHECK(strlen(message) > 5 && strlen(message) < 500 && !strchr(message, '\n'));
    qwip_string_free(message);
    IS(QWIP_STATUS_WRONG_STATE, qwip_request_start(request, NULL, NULL));
    OK(qwip_request_free(request));
  }
  for (size_t i = 0; i < sizeof strange / sizeof *strange; i++) {
    OK(qwip_request_new(session, &request));
    qwip_status status = qwip_request_set_messages(request, strange[i]);
    if (status == QWIP_STATUS_OK) {
      OK(qwip_request_set_max_tokens(request, 2));
      OK(qwip_request_start(request, NULL, NULL));
      status = qwip_request_wait(request, -1);
    }
    CHECK(status == QWIP_STATUS_OK || status == QWIP_STATUS_INVALID_ARGUMENT);
    OK(qwip_request_free(request));
  }
  OK(qwip_request_new(session, &request));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_prompt(request, "\xff"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_grammar(request, "\xff"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_add_stop(request, "\xff"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_add_stop(request, ""));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_thinking(request, 2));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_thinking(request, -2));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_ignore_eos(request, 2));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_parallel_tool_calls(request, -1));
  for (int i = 0; i < 64; i++) OK(qwip_request_add_stop(request, "never said"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_add_stop(request, "one more"));
  OK(qwip_request_set_max_tokens(request, UINT32_MAX));
  OK(qwip_request_set_thinking_budget(request, UINT32_MAX));
  // Deep: 200,000 lists in each other.
  const size_t depth = 200000, huge = ((size_t)64 << 20) + 10;
  char *deep = (char *)malloc(2 * depth + 1);
  memset(deep, '[', depth);
  memset(deep + depth, ']', depth);
  deep[2 * depth] = 0;
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_messages(request, deep));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_json_schema(request, deep));
  free(deep);
  // Long.
  char *spaces = (char *)malloc(huge);
  memset(spaces, ' ', huge);
  spaces[huge - 1] = 0;
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_messages(request, spaces));
  HAS(LAST_ERROR, "8388608");
  free(spaces);
  // A deep grammar, and a prompt that does not fit.
  char *long_text = (char *)malloc(400001);
  for (int i = 0; i < 200000; i++) long_text[i] = '(', long_text[200000 + i] = ')';
  long_text[400000] = 0;
  OK(qwip_request_set_grammar(request, long_text));
  OK(qwip_request_set_prompt(request, "Hi"));
  OK(qwip_request_start(request, NULL, NULL));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_wait(request, -1));
  OK(qwip_request_free(request));
  OK(qwip_request_new(session, &request));
  OK(qwip_request_set_prompt(request, long_text));
  OK(qwip_request_start(request, NULL, NULL));
  IS(QWIP_STATUS_CONTEXT_FULL, qwip_request_wait(request, -1));
  OK(qwip_request_free(request));
  free(long_text);
  OK(qwip_session_free(session));
}

// Too early, too late, twice.
static void order(void) {
  qwip_session *session = session_of(model);
  qwip_request *request;
  int32_t kind;
  char *text;
  OK(qwip_request_new(session, &request));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_poll(request, 0, &kind, &text));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_wait(request, -1));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_result(request, &text));
  OK(qwip_request_cancel(request));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_start(request, NULL, NULL));
  OK(qwip_request_set_messages(request, USER("Hi")));
  OK(qwip_request_start(request, NULL, NULL));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_start(request, NULL, NULL));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_set_messages(request, USER("Hi")));
  IS(QWIP_STATUS_WRONG_STATE, qwip_request_add_stop(request, "x"));
  OK(qwip_request_wait(request, -1));
  while (qwip_request_poll(request, -1, &kind, &text) == QWIP_STATUS_OK) qwip_string_free(text);
  IS(QWIP_STATUS_DONE, qwip_request_poll(request, -1, &kind, &text));
  CHECK(kind == QWIP_EVENT_NONE && !text);
  OK(qwip_request_cancel(request));
  // The session goes; what came of the request is still there.
  OK(qwip_session_free(session));
  OK(qwip_request_result(request, &text));
  HAS(text, "\"finish_reason\":\"stop\"");
  qwip_string_free(text);
  OK(qwip_request_free(request));
  // A session is freed in the middle of an answer.
  session = session_of(model);
  OK(qwip_request_new(session, &request));
  OK(qwip_request_set_messages(request, USER("Hi")));
  OK(qwip_request_set_ignore_eos(request, 1));
  OK(qwip_request_start(request, NULL, NULL));
  OK(qwip_session_free(session));
  OK(qwip_request_wait(request, -1));
  OK(qwip_request_result(request, &text));
  qwip_string_free(text);
  OK(qwip_request_free(request));
}

static volatile int logged;
static void listen(int32_t level, const char *message, void *user) {
  CHECK(level >= 1 && level <= 4 && message[0] && !strchr(message, '\n') && user == (void *)&logged);
  // It may call the library; only not change what hears the log.
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_model_free(NULL));
  BUSY(qwip_set_log(listen, user, QWIP_LOG_DEBUG));
  logged++;
}

static void logs(const char *path) {
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_set_log(listen, NULL, 0));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_set_log(listen, NULL, 5));
  OK(qwip_set_log(listen, (void *)&logged, QWIP_LOG_DEBUG));
  qwip_model *other = load(path);
  CHECK(logged == 1);
  OK(qwip_model_background(other));
  OK(qwip_model_foreground(other));
  CHECK(logged == 3);
  OK(qwip_set_log(NULL, NULL, 0));
  OK(qwip_model_background(other));
  CHECK(logged == 3);
  OK(qwip_model_free(other));
}

// A thread that ends may still call: its own values are gone by then.
static pthread_key_t key;
static void at_the_end(void *session) {
  char *message;
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_model_free(NULL));
  OK(qwip_last_error(&message));
  qwip_string_free(message);
  OK(qwip_session_free((qwip_session *)session));
  logged = 1000;
}

static void *end_early(void *session) {
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_model_free(NULL));
  CHECK(pthread_setspecific(key, session) == 0);
  return NULL;
}

static void thread_ends(void) {
  pthread_t thread;
  CHECK(pthread_key_create(&key, at_the_end) == 0);
  CHECK(pthread_create(&thread, NULL, end_early, session_of(model)) == 0);
  pthread_join(thread, NULL);
  CHECK(logged == 1000);
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  model = load(arguments[1]);
  reentrant();
  garbage();
  never_returns();
  two_threads();
  texts();
  order();
  logs(arguments[1]);
  thread_ends();
  OK(qwip_model_free(model));
  return 0;
}
