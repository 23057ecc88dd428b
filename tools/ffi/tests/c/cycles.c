// Everything made and put away again, many times and from many threads; files that change while they are used.
#include "check.h"

#include <dirent.h>
#include <malloc.h>

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"

static const char *path;
static char *file;
static size_t length;

static int entries(const char *folder) {
  DIR *open_folder = opendir(folder);
  CHECK(open_folder);
  int count = 0;
  while (readdir(open_folder)) count++;
  closedir(open_folder);
  return count;
}

static long anonymous_kb(void) {
  FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
  char line[200];
  long found = -1;
  while (rollup && fgets(line, sizeof line, rollup)) sscanf(line, "Anonymous: %ld", &found);
  if (rollup) fclose(rollup);
  return found;
}

// One life of a model and of all that is made on it; `way` chooses among the ways.
static void live(qwip_model *model, unsigned way) {
  qwip_session *session = session_of(model), *fork;
  OK(qwip_session_set_context(session, 256));
  Ask ask = ask_of(USER("What is qwip?"));
  ask.max_tokens = 6;
  ask.poll = way & 1;
  if (way % 5 == 0) ask.schema = "{\"enum\":[\"a\",\"b\"]}";
  Answer answer = answer_of(model, session, &ask);
  OK(answer.status);
  answer_free(&answer);
  OK(qwip_session_fork(session, &fork));
  // One that is not heard to its end, and one that is freed while it runs.
  qwip_request *request = request_of(model, fork, &ask);
  OK(qwip_request_start(request, NULL, NULL));
  if (way & 2) OK(qwip_request_wait(request, -1));
  if (way & 4) OK(qwip_session_free(fork));
  OK(qwip_request_free(request));
  if (!(way & 4)) OK(qwip_session_free(fork));
  char saved[400], name[40];
  snprintf(name, sizeof name, "cycle-%lx", (unsigned long)pthread_self());
  snprintf(saved, sizeof saved, "%s", temporary(name));
  OK(qwip_session_save(session, saved));
  OK(qwip_session_restore(session, saved));
  unlink(saved);
  IS(QWIP_STATUS_NOT_FOUND, qwip_session_restore(session, saved));
  char *message;
  OK(qwip_session_error(session, &message));
  HAS(message, "cycle");
  qwip_string_free(message);
  // Never started.
  request = request_of(model, session, &ask);
  if (way & 8) OK(qwip_session_free(session));
  OK(qwip_request_free(request));
  if (!(way & 8)) OK(qwip_session_free(session));
}

static void whole_life(unsigned way) {
  qwip_model *model;
  OK(qwip_model_new(&model));
  OK(qwip_model_set_threads(model, 1 + (int)(way % 3)));
  OK(qwip_model_set_mmap(model, way % 4 != 1));
  if (way % 4 == 2) {
    OK(qwip_model_open_memory(model, file, length, NULL, NULL));
  } else if (way % 4 == 3) {
    int fd = open(path, O_RDONLY);
    OK(qwip_model_open_fd(model, fd, 0, 0));
    close(fd);
  } else {
    OK(qwip_model_open_path(model, path));
  }
  OK(qwip_model_load(model));
  live(model, way);
  OK(qwip_model_free(model));
}

static void cycles(void) {
  int count = times(100, 3);
  long early = 0;
  int files = entries("/proc/self/fd");
  for (int i = 0; i < count; i++) {
    whole_life((unsigned)i);
    if (i == count / 2) early = anonymous_kb();
  }
  long late = anonymous_kb();
  printf("%d cycles: %ld KB after half of them, %ld KB after all\n", count, early, late);
  CHECK(!is_memory_real() || late < early + 1000);
  CHECK(entries("/proc/self/fd") == files);
  // The last thread may be on its way out.
  for (int i = 0; i < 500 && entries("/proc/self/task") > 3; i++) sleep_ms(10);
  CHECK(entries("/proc/self/task") == 3);
}

static qwip_model *shared;
static void *many(void *number) {
  unsigned of = (unsigned)(uintptr_t)number;
  for (unsigned i = 0; i < (unsigned)times(8, 1); i++) {
    live(shared, of + i);
    if (of % 4 == 0) whole_life(of + i);
  }
  return NULL;
}

static void at_once(void) {
  enum { THREADS = 12 };
  pthread_t threads[THREADS];
  shared = load(path);
  int count = times(THREADS, 3);
  for (int i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, many, (void *)(uintptr_t)i) == 0);
  for (int i = 0; i < count; i++) pthread_join(threads[i], NULL);
  OK(qwip_model_free(shared));
}

// Threads that free what others use: a status, and nothing else.
static qwip_session *contested;
static void *use_and_free(void *number) {
  uint32_t token = 1;
  size_t held;
  if ((uintptr_t)number == 1) sleep_ms(2);
  for (int i = 0; i < 50; i++) {
    qwip_status status = (uintptr_t)number == 1 && i > 5 ? qwip_session_free(contested) : qwip_session_decode(contested, &token, 1);
    CHECK(status == QWIP_STATUS_OK || status == QWIP_STATUS_BUSY || status == QWIP_STATUS_INVALID_HANDLE ||
          status == QWIP_STATUS_CANCELLED);
    status = qwip_session_length(contested, &held);
    CHECK(status == QWIP_STATUS_OK || status == QWIP_STATUS_BUSY || status == QWIP_STATUS_INVALID_HANDLE);
  }
  return NULL;
}

static void contest(void) {
  qwip_model *model = load(path);
  for (int round = 0; round < times(20, 2); round++) {
    pthread_t threads[4];
    contested = session_of(model);
    for (int i = 0; i < 4; i++) CHECK(pthread_create(&threads[i], NULL, use_and_free, (void *)(uintptr_t)i) == 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    IS(QWIP_STATUS_INVALID_HANDLE, qwip_session_free(contested));
  }
  uint64_t bytes;
  OK(qwip_model_memory_used(model, &bytes));
  CHECK(bytes < 1000000);
  OK(qwip_model_free(model));
}

// The file is replaced by another one while it is used: what was opened goes on. In copying mode it may even be truncated.
static void changed_files(void) {
  char own[400], other[400];
  snprintf(own, sizeof own, "%s", temporary("model"));
  snprintf(other, sizeof other, "%s", temporary("other"));
  Ask ask = ask_of(USER("What is qwip?"));
  ask.ignore_eos = 1;
  ask.temperature = 1;
  ask.max_tokens = 40;
  qwip_model *first = load(path);
  qwip_session *session = session_of(first);
  Answer want = answer_of(first, session, &ask);
  OK(qwip_session_free(session));
  OK(qwip_model_free(first));
  for (int copied = 0; copied < 2; copied++) {
    write_file(own, file, length);
    write_file(other, "no model", 8);
    qwip_model *model;
    OK(qwip_model_new(&model));
    OK(qwip_model_set_mmap(model, !copied));
    OK(qwip_model_open_path(model, own));
    OK(qwip_model_load(model));
    session = session_of(model);
    Answer answer;
    memset(&answer, 0, sizeof answer);
    begin(&answer, model, session, &ask);
    if (copied) {
      CHECK(truncate(own, 100) == 0);
      sleep_ms(1);
      CHECK(truncate(own, 0) == 0);
    } else {
      CHECK(rename(other, own) == 0);
    }
    end_of(&answer);
    SAME(answer.text.data, want.text.data);
    answer_free(&answer);
    // All that follows, too, memory that was given back included.
    OK(qwip_model_on_memory_pressure(model, QWIP_PRESSURE_CRITICAL));
    Answer next = answer_of(model, session, &ask);
    SAME(next.text.data, want.text.data);
    answer_free(&next);
    char *json;
    OK(qwip_model_metadata(model, "tokenizer.ggml.tokens", &json));
    CHECK(strlen(json) > 3000);
    qwip_string_free(json);
    OK(qwip_session_free(session));
    OK(qwip_model_free(model));
    // Between opening and loading it is read anew: what is gone is an error.
    write_file(own, file, length);
    OK(qwip_model_new(&model));
    OK(qwip_model_set_mmap(model, 0));
    OK(qwip_model_open_path(model, own));
    unlink(own);
    IS(QWIP_STATUS_NOT_FOUND, qwip_model_load(model));
    write_file(own, file, length);
    OK(qwip_model_load(model));
    OK(qwip_model_free(model));
    unlink(own);
    unlink(other);
  }
  answer_free(&want);
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  path = arguments[1];
  // One heap for all threads, so that growth is growth and not one more heap.
  mallopt(M_ARENA_MAX, 1);
  file = read_file(path, &length);
  cycles();
  at_once();
  contest();
  changed_files();
  free(file);
  return 0;
}
