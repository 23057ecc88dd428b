// The memory limit from both sides, what saving needs, and what becomes of work whose model is freed.
#include "check.h"

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"

static uint64_t used(qwip_model *model) {
  uint64_t bytes;
  OK(qwip_model_memory_used(model, &bytes));
  return bytes;
}

static uint64_t estimate(const char *path, uint32_t context) {
  qwip_model *model = new_model();
  uint64_t bytes;
  OK(qwip_model_open_path(model, path));
  OK(qwip_model_estimate(model, context, QWIP_MEMORY_DIRTY, &bytes));
  OK(qwip_model_free(model));
  return bytes;
}

static qwip_model *limited(const char *path, uint64_t limit) {
  qwip_model *model = new_model();
  OK(qwip_model_set_memory_limit(model, limit));
  OK(qwip_model_open_path(model, path));
  OK(qwip_model_load(model));
  return model;
}

// What is estimated is enough for a full context; with a page less the answer fails, and the next question is answered.
static void the_limit(const char *path) {
  const uint32_t context = (uint32_t)times(512, 128);
  const uint64_t enough = estimate(path, context);
  for (int less = 0; less < 2; less++) {
    qwip_model *model = limited(path, enough - (less ? 100000 : 0));
    qwip_session *session = session_of(model);
    OK(qwip_session_set_context(session, context));
    Ask longer = ask_of(USER("Tell me everything."));
    longer.ignore_eos = 1;
    longer.max_tokens = -1;
    longer.temperature = 1;
    for (int again = 0; again < 2; again++) {
      Answer full = answer_of(model, session, &longer);
      if (less) {
        IS(QWIP_STATUS_OUT_OF_MEMORY, full.status);
        HAS(full.error.data, "are taken");
      } else {
        OK(full.status);
        SAME(full.finish.data, "length");
        CHECK(used(model) <= enough);
      }
      answer_free(&full);
      Ask brief = ask_of(USER("Hi"));
      Answer answer = answer_of(model, session, &brief);
      OK(answer.status);
      answer_free(&answer);
    }
    OK(qwip_session_free(session));
    OK(qwip_model_free(model));
  }
}

// A session is saved when nothing is left to compute with.
static void saving(const char *path) {
  // Room for the buffers of one session, not of two.
  qwip_model *model = limited(path, estimate(path, 256));
  qwip_session *first = session_of(model), *second = session_of(model);
  OK(qwip_session_set_context(first, 256));
  OK(qwip_session_set_context(second, 256));
  const uint32_t tokens[] = {11, 12, 13, 14, 15};
  uint32_t found[8];
  size_t count;
  OK(qwip_session_decode(first, tokens, 5));
  OK(qwip_model_on_memory_pressure(model, QWIP_PRESSURE_CRITICAL));
  OK(qwip_session_decode(second, tokens, 5));
  const uint64_t before = used(model);
  IS(QWIP_STATUS_OUT_OF_MEMORY, qwip_session_decode(first, tokens, 1));
  char target[400], beside[500];
  snprintf(target, sizeof target, "%s", temporary("limits.session"));
  snprintf(beside, sizeof beside, "%s.tmp", target);
  // What a process that was killed has left is written over.
  write_file(beside, "left behind", 11);
  OK(qwip_model_background(model));
  OK(qwip_session_save(first, target));
  OK(qwip_model_foreground(model));
  CHECK(used(model) == before && access(beside, F_OK) != 0);
  struct stat about;
  CHECK(stat(target, &about) == 0);
  OK(qwip_session_free(second));
  OK(qwip_session_truncate(first, 0));
  OK(qwip_session_restore(first, target));
  OK(qwip_session_tokens(first, found, 8, &count));
  CHECK(count == 5 && memcmp(found, tokens, sizeof tokens) == 0);
  OK(qwip_session_decode(first, tokens, 1));
  // Devices and folders are not replaced; a new file is for the user alone.
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_session_save(first, "/dev/null"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_session_save(first, "/"));
  CHECK(unlink(target) == 0);
  OK(qwip_session_save(first, target));
  CHECK(stat(target, &about) == 0 && (about.st_mode & 0777) == 0600);
  CHECK(unlink(target) == 0);
  OK(qwip_session_free(first));
  OK(qwip_model_free(model));
}

typedef struct {
  qwip_session *session;
  qwip_status status;
} Work;

static void *decode(void *data) {
  Work *work = (Work *)data;
  const uint32_t token = 7;
  do work->status = qwip_session_decode(work->session, &token, 1);
  while (work->status == QWIP_STATUS_OK && !qwip_session_truncate(work->session, 0));
  return NULL;
}

// Nobody can bring a model back that was freed in the background: what waits there ends.
static void freed_in_the_background(const char *path) {
  qwip_model *model = load(path);
  qwip_session *session = session_of(model), *other = session_of(model);
  Ask ask = ask_of(USER("Hello"));
  ask.ignore_eos = 1;
  ask.max_tokens = 1900;
  Answer answer;
  memset(&answer, 0, sizeof answer);
  begin(&answer, model, session, &ask);
  Work work = {other, QWIP_STATUS_OK};
  pthread_t thread;
  CHECK(pthread_create(&thread, NULL, decode, &work) == 0);
  sleep_ms(20);
  OK(qwip_model_background(model));
  IS(QWIP_STATUS_TIMEOUT, qwip_request_wait(answer.request, 30));
  OK(qwip_model_free(model));
  OK(qwip_request_wait(answer.request, 5000));
  end_of(&answer);
  SAME(answer.finish.data, "cancelled");
  answer_free(&answer);
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(work.status == QWIP_STATUS_CANCELLED || work.status == QWIP_STATUS_BACKGROUND);
  OK(qwip_session_free(session));
  OK(qwip_session_free(other));
}

// A call that fails leaves nothing in its out parameters, also for a handle that is none.
static void nothing_is_given_out(const char *path) {
  qwip_model *model = load(path);
  OK(qwip_model_free(model));
  char *text = (char *)&text;
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_model_info(model, &text));
  CHECK(!text);
  text = (char *)&text;
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_model_detokenize(model, NULL, 0, 0, &text));
  CHECK(!text);
  text = (char *)&text;
  int32_t kind = 9;
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_request_poll(NULL, 0, &kind, &text));
  CHECK(!text && kind == QWIP_EVENT_NONE);
  uint64_t bytes = 9;
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_model_estimate(model, 0, QWIP_MEMORY_DIRTY, &bytes));
  CHECK(bytes == 0);
  size_t count = 9;
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_model_tokenize(model, "x", 1, 0, NULL, 0, &count));
  CHECK(count == 0);
  count = 9;
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_session_logits(NULL, NULL, 0, &count));
  CHECK(count == 0);
  qwip_session *session = (qwip_session *)&session;
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_session_new(model, &session));
  CHECK(!session);
}

// Roles that templates would pass over are refused.
static void roles(const char *path) {
  qwip_model *model = load(path);
  qwip_session *session = session_of(model);
  qwip_request *request;
  OK(qwip_request_new(session, &request));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_messages(request, "[{\"role\":\"wizard\",\"content\":\"Hi\"}]"));
  HAS(LAST_ERROR, "'wizard'");
  OK(qwip_request_set_messages(request, "[{\"role\":\"developer\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Hi\"}]"));
  OK(qwip_request_free(request));
  OK(qwip_session_free(session));
  OK(qwip_model_free(model));
}

int main(int argc, char **argv) {
  CHECK(argc == 2);
  the_limit(argv[1]);
  saving(argv[1]);
  freed_in_the_background(argv[1]);
  nothing_is_given_out(argv[1]);
  roles(argv[1]);
  return 0;
}
