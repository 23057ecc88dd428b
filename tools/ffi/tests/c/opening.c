// Where a model comes from, what loading it takes, and what becomes of files that are none.
#include "check.h"

static const char question[] = "[{\"role\":\"user\",\"content\":\"What is qwip?\"}]";
static char *file;
static size_t length;
static char *reference;

// The model answers as it does when it is opened by its path.
static void answers(qwip_model *model, qwip_session *session) {
  Ask ask = ask_of(question);
  Answer answer = answer_of(model, session, &ask);
  OK(answer.status);
  if (!reference) reference = strdup(answer.text.data);
  SAME(answer.text.data, reference);
  answer_free(&answer);
}

static void works(qwip_model *model) {
  qwip_session *session = session_of(model);
  answers(model, session);
  OK(qwip_session_free(session));
}

static void by_path(const char *path) {
  qwip_model *model = new_model();
  char *json;
  IS(QWIP_STATUS_WRONG_STATE, qwip_model_info(model, &json));
  IS(QWIP_STATUS_WRONG_STATE, qwip_model_load(model));
  IS(QWIP_STATUS_NOT_FOUND, qwip_model_open_path(model, "/no/such/file"));
  OK(qwip_model_open_path(model, path));
  IS(QWIP_STATUS_WRONG_STATE, qwip_model_open_path(model, path));
  qwip_session *session;
  IS(QWIP_STATUS_WRONG_STATE, qwip_session_new(model, &session));
  CHECK(!session);
  OK(qwip_model_info(model, &json));
  CHECK((size_t)json_number(json, "bytes") == length);
  qwip_string_free(json);
  OK(qwip_model_load(model));
  IS(QWIP_STATUS_WRONG_STATE, qwip_model_load(model));
  IS(QWIP_STATUS_WRONG_STATE, qwip_model_set_threads(model, 1));
  works(model);
  OK(qwip_model_free(model));
  for (int ways = 0; ways < 8; ways += times(1, 3)) {
    model = new_model();
    OK(qwip_model_set_mmap(model, ways & 1));
    OK(qwip_model_set_prefault(model, ways >> 1 & 1));
    OK(qwip_model_set_mlock(model, ways >> 2));
    OK(qwip_model_open_path(model, path));
    OK(qwip_model_load(model));
    works(model);
    OK(qwip_model_free(model));
  }
}

// A model inside of another file, at an odd place, as in an Android package.
static void by_descriptor(void) {
  const size_t before = 12347, behind = 54321;
  char path[400];
  snprintf(path, sizeof path, "%s", temporary("package"));
  char *package = (char *)malloc(before + length + behind);
  memset(package, 'x', before + length + behind);
  memcpy(package + before, file, length);
  write_file(path, package, before + length + behind);
  free(package);
  for (int copied = 0; copied < 2; copied++) {
    qwip_model *model = new_model();
    OK(qwip_model_set_mmap(model, !copied));
    int fd = open(path, O_RDONLY);
    CHECK(fd >= 0 && lseek(fd, 77, SEEK_SET) == 77);
    IS(QWIP_STATUS_INVALID_MODEL, qwip_model_open_fd(model, fd, 0, 0));
    IS(QWIP_STATUS_INVALID_MODEL, qwip_model_open_fd(model, fd, before + 1, length));
    IS(QWIP_STATUS_INVALID_MODEL, qwip_model_open_fd(model, fd, before, length - 5));
    CHECK(qwip_model_open_fd(model, fd, before, length + behind + 1) != QWIP_STATUS_OK);
    CHECK(qwip_model_open_fd(model, fd, before + length + behind, 0) != QWIP_STATUS_OK);
    CHECK(qwip_model_open_fd(model, fd, UINT64_MAX, 0) != QWIP_STATUS_OK);
    CHECK(qwip_model_open_fd(model, fd, before, UINT64_MAX) != QWIP_STATUS_OK);
    CHECK(qwip_model_open_fd(model, fd, UINT64_MAX - 3, 7) != QWIP_STATUS_OK);
    OK(qwip_model_open_fd(model, fd, before, length));
    // Its own position is not touched, and it is not needed any more.
    CHECK(lseek(fd, 0, SEEK_CUR) == 77);
    close(fd);
    OK(qwip_model_load(model));
    works(model);
    OK(qwip_model_free(model));
  }
  unlink(path);
}

static void released(void *user) { ++*(volatile int *)user; }

// Until the library's own threads have let go of it, too.
static void wait_for(volatile int *count, int want) {
  for (int i = 0; i < 500 && *count != want; i++) sleep_ms(10);
  CHECK(*count == want);
  sleep_ms(5);
  CHECK(*count == want);
}

static void by_memory(void) {
  volatile int count = 0;
  char *odd = (char *)malloc(length + 1);
  memcpy(odd + 1, file, length);
  qwip_model *model = new_model();
  OK(qwip_model_open_memory(model, odd + 1, length, released, (void *)&count));
  // A second time is too late; that memory is given back at once.
  IS(QWIP_STATUS_WRONG_STATE, qwip_model_open_memory(model, odd + 1, length, released, (void *)&count));
  wait_for(&count, 1);
  OK(qwip_model_load(model));
  works(model);
  qwip_session *session = session_of(model);
  OK(qwip_model_free(model));
  // A session still needs it.
  uint32_t token = 5;
  OK(qwip_session_decode(session, &token, 1));
  CHECK(count == 1);
  OK(qwip_session_free(session));
  wait_for(&count, 2);
  free(odd);

  model = new_model();
  IS(QWIP_STATUS_INVALID_MODEL, qwip_model_open_memory(model, "no model at all", 15, released, (void *)&count));
  wait_for(&count, 3);
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_model_open_memory(model, NULL, 15, released, (void *)&count));
  wait_for(&count, 4);
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_model_open_memory(model, file, 0, released, (void *)&count));
  wait_for(&count, 5);
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_model_open_memory(model, file, SIZE_MAX, released, (void *)&count));
  wait_for(&count, 6);
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_model_open_memory(NULL, file, length, released, (void *)&count));
  wait_for(&count, 7);
  // Without a function to call.
  OK(qwip_model_open_memory(model, file, length, NULL, NULL));
  OK(qwip_model_load(model));
  OK(qwip_model_free(model));
  // Never loaded.
  model = new_model();
  OK(qwip_model_open_memory(model, file, length, released, (void *)&count));
  OK(qwip_model_free(model));
  wait_for(&count, 8);
}

typedef struct {
  qwip_model *model;
  uint64_t last, stop_at;
  int calls;
} Progress;

static int32_t watch(uint64_t done, uint64_t total, void *user) {
  Progress *progress = (Progress *)user;
  char *json;
  CHECK(done >= progress->last && done <= total && total >= length);
  progress->last = done;
  progress->calls++;
  IS(QWIP_STATUS_BUSY, qwip_model_info(progress->model, &json));
  IS(QWIP_STATUS_BUSY, qwip_model_load(progress->model));
  IS(QWIP_STATUS_BUSY, qwip_model_set_threads(progress->model, 1));
  return done >= progress->stop_at ? -17 : 0;
}

static void with_progress(const char *path) {
  for (int copied = 0; copied < 2; copied++) {
    Progress progress = {NULL, 0, 1, 0};
    qwip_model *model = progress.model = new_model();
    OK(qwip_model_set_mmap(model, !copied));
    OK(qwip_model_set_prefault(model, 1));
    OK(qwip_model_set_progress(model, watch, &progress));
    OK(qwip_model_open_path(model, path));
    IS(QWIP_STATUS_CANCELLED, qwip_model_load(model));
    CHECK(progress.calls >= 1);
    // It stays open, and can be loaded again.
    progress.last = 0;
    progress.stop_at = UINT64_MAX;
    OK(qwip_model_load(model));
    CHECK(progress.last == length);
    works(model);
    OK(qwip_model_free(model));
  }
}

static uint64_t used_by(qwip_model *model) {
  uint64_t bytes;
  OK(qwip_model_memory_used(model, &bytes));
  return bytes;
}

static void memory(const char *path) {
  static uint32_t tokens[700];
  const uint32_t context = (uint32_t)times(700, 300);
  for (int i = 0; i < 700; i++) tokens[i] = (uint32_t)(i * 7 % 4000);
  for (int copied = 0; copied < 2; copied++) {
    uint64_t dirty, mapped, per_token, total, gpu, of_session;
    qwip_model *model = new_model();
    OK(qwip_model_set_mmap(model, !copied));
    OK(qwip_model_open_path(model, path));
    OK(qwip_model_estimate(model, context, QWIP_MEMORY_DIRTY, &dirty));
    OK(qwip_model_estimate(model, context, QWIP_MEMORY_MAPPED, &mapped));
    OK(qwip_model_estimate(model, context, QWIP_MEMORY_KV_PER_TOKEN, &per_token));
    OK(qwip_model_estimate(model, context, QWIP_MEMORY_TOTAL, &total));
    OK(qwip_model_estimate(model, context, QWIP_MEMORY_GPU, &gpu));
    // 4 layers, 2 heads of keys and of values, 64 elements each, 2 bytes.
    CHECK(per_token == 4 * 2 * 2 * 64 * 2 && gpu == 0 && total == dirty + mapped);
    CHECK(copied ? mapped == 0 && dirty > length / 2 : mapped > length / 2 && mapped <= length);
    OK(qwip_model_load(model));
    uint64_t at_rest = used_by(model);
    qwip_session *session = session_of(model);
    OK(qwip_session_set_context(session, context));
    OK(qwip_session_estimate(session, QWIP_MEMORY_DIRTY, &of_session));
    CHECK(of_session == dirty && used_by(model) == at_rest);
    OK(qwip_session_decode(session, tokens, context));
    uint64_t full = used_by(model);
    printf("%s: %.1f KB estimated, %.1f KB taken, %.1f KB of them by the model alone\n", copied ? "copied" : "mapped",
           (double)dirty / 1e3, (double)full / 1e3, (double)at_rest / 1e3);
    // Beyond the estimate there are the tables of the tokenizer, and what stands around the tensors in a copied file.
    CHECK(full + 200000 > dirty && full < dirty + dirty / 10 + 600000);
    CHECK(full - at_rest >= per_token * context);
    OK(qwip_session_free(session));
    CHECK(used_by(model) == at_rest);
    OK(qwip_model_free(model));

    // Too little to load it.
    model = new_model();
    OK(qwip_model_set_mmap(model, !copied));
    OK(qwip_model_set_memory_limit(model, at_rest - 1));
    OK(qwip_model_open_path(model, path));
    IS(QWIP_STATUS_OUT_OF_MEMORY, qwip_model_load(model));
    HAS(LAST_ERROR, "limit");
    // Just enough, but not for a session.
    OK(qwip_model_set_memory_limit(model, at_rest + 1000));
    OK(qwip_model_load(model));
    session = session_of(model);
    OK(qwip_session_set_context(session, context));
    IS(QWIP_STATUS_OUT_OF_MEMORY, qwip_session_prepare(session));
    Ask ask = ask_of(question);
    Answer refused = answer_of(model, session, &ask);
    IS(QWIP_STATUS_OUT_OF_MEMORY, refused.status);
    HAS(refused.error.data, "limit");
    answer_free(&refused);
    CHECK(used_by(model) == at_rest);
    OK(qwip_session_free(session));
    OK(qwip_model_free(model));

    // Enough for half of a prompt.
    model = new_model();
    OK(qwip_model_set_mmap(model, !copied));
    OK(qwip_model_set_memory_limit(model, full - per_token * (context / 2)));
    OK(qwip_model_open_path(model, path));
    OK(qwip_model_load(model));
    session = session_of(model);
    OK(qwip_session_set_context(session, context));
    OK(qwip_session_decode(session, tokens, 20));
    IS(QWIP_STATUS_OUT_OF_MEMORY, qwip_session_decode(session, tokens + 20, context - 20));
    size_t held;
    OK(qwip_session_length(session, &held));
    CHECK(held == 20);
    OK(qwip_session_decode(session, tokens + 20, 100));
    // A second session takes of the same.
    qwip_session *second;
    OK(qwip_session_fork(session, &second));
    IS(QWIP_STATUS_OUT_OF_MEMORY, qwip_session_decode(second, tokens + 120, context - 120));
    OK(qwip_session_free(second));
    // What a prompt does not share is kept until its first step is done; here there is no room for both.
    OK(qwip_session_truncate(session, 0));
    answers(model, session);
    OK(qwip_session_free(session));
    CHECK(used_by(model) == at_rest);
    OK(qwip_model_free(model));
  }
}

// Opens, loads and, if that works, computes: a status, whatever it is.
static qwip_status of_bytes(const char *data, size_t size) {
  volatile int count = 0;
  qwip_model *model;
  OK(qwip_model_new(&model));
  OK(qwip_model_set_threads(model, 1));
  qwip_status status = qwip_model_open_memory(model, data, size, released, (void *)&count);
  if (status == QWIP_STATUS_OK) status = qwip_model_load(model);
  if (status == QWIP_STATUS_OK) {
    qwip_session *session = session_of(model);
    uint32_t tokens[] = {1, 2, 3};
    qwip_session_set_context(session, 64);
    status = qwip_session_decode(session, tokens, 3);
    OK(qwip_session_free(session));
  }
  if (status != QWIP_STATUS_OK) {
    CHECK(status != QWIP_STATUS_INTERNAL);
    const char *message = LAST_ERROR;
    CHECK(message[0] && !strchr(message, '\n'));
  }
  OK(qwip_model_free(model));
  wait_for(&count, 1);
  return status;
}

static void damaged(void) {
  int cuts = times(120, 6), flips = times(150, 3), still = 0;
  for (int i = 0; i < cuts; i++) {
    // Half of them where the header is.
    size_t at = i % 2 ? length * (size_t)i / (size_t)cuts : (size_t)i * 1201 % 90000;
    char *data = (char *)malloc(at + 1);
    memcpy(data, file, at);
    CHECK(of_bytes(data, at) != QWIP_STATUS_OK);
    free(data);
  }
  uint64_t random = 88172645463325252u;
  char *data = (char *)malloc(length);
  for (int i = 0; i < flips; i++) {
    memcpy(data, file, length);
    for (int k = 0; k < 4; k++) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      size_t within = i % 3 == 0 ? 400 : i % 3 == 1 ? 90000 : length;
      data[random % within] ^= (char)(1 << (random >> 60 & 7));
    }
    still += of_bytes(data, length) == QWIP_STATUS_OK;
  }
  free(data);
  printf("%d cut files refused; of %d with flipped bits %d still compute\n", cuts, flips, still);
}

static void no_files(void) {
  static const char *const paths[] = {"/", "/tmp", "/dev/null", "/dev/zero", "", "/proc/self/status", "no\nsuch\nfile"};
  char *json;
  for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
    qwip_model *model = new_model();
    CHECK(qwip_model_open_path(model, paths[i]) != QWIP_STATUS_OK);
    CHECK(LAST_ERROR[0] && !strchr(LAST_ERROR, '\n'));
    IS(QWIP_STATUS_WRONG_STATE, qwip_model_info(model, &json));
    int fd = open(paths[i], O_RDONLY);
    if (fd >= 0) {
      CHECK(qwip_model_open_fd(model, fd, 0, 0) != QWIP_STATUS_OK);
      close(fd);
    }
    OK(qwip_model_free(model));
  }
  qwip_model *model = new_model();
  int ends[2];
  CHECK(pipe(ends) == 0);
  CHECK(qwip_model_open_fd(model, ends[0], 0, 0) != QWIP_STATUS_OK);
  CHECK(qwip_model_open_fd(model, ends[0], 0, 100) != QWIP_STATUS_OK);
  CHECK(qwip_model_open_fd(model, ends[1], 0, 0) != QWIP_STATUS_OK);
  close(ends[0]);
  close(ends[1]);
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_model_open_fd(model, -1, 0, 0));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_model_open_fd(model, 987654, 0, 0));
  // A pipe with a name: nobody writes to it, and nobody waits for that.
  char path[400];
  snprintf(path, sizeof path, "%s", temporary("pipe"));
  CHECK(mkfifo(path, 0600) == 0);
  alarm(20);
  CHECK(qwip_model_open_path(model, path) != QWIP_STATUS_OK);
  alarm(0);
  unlink(path);
  // A file that cannot be read.
  int fd = open(path, O_WRONLY | O_CREAT, 0600);
  CHECK(fd >= 0 && write(fd, file, length) == (ssize_t)length);
  CHECK(qwip_model_open_fd(model, fd, 0, 0) != QWIP_STATUS_OK);
  close(fd);
  unlink(path);
  OK(qwip_model_free(model));
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  file = read_file(arguments[1], &length);
  by_path(arguments[1]);
  by_descriptor();
  by_memory();
  with_progress(arguments[1]);
  memory(arguments[1]);
  damaged();
  no_files();
  free(file);
  free(reference);
  return 0;
}
