// Many tokens over many sessions: memory stays flat. MODEL [TOKENS]; a million takes some minutes.
#include "check.h"

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"
enum { WORKERS = 2 };

static qwip_model *model;
static long wanted, made, requests, cancelled, peaks[2];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

// Kilobytes of our own: the file's pages are not among them.
static long anonymous_kb(void) {
  FILE *rollup = fopen("/proc/self/smaps_rollup", "r");
  char line[200];
  long found = -1;
  CHECK(rollup);
  while (fgets(line, sizeof line, rollup)) sscanf(line, "Anonymous: %ld", &found);
  fclose(rollup);
  CHECK(found > 0);
  return found;
}

static int stop_at_events(Answer *answer, int32_t kind) {
  (void)kind;
  return answer->events == *(int *)answer->user;
}

static void *work(void *number) {
  static const uint32_t contexts[] = {128, 2048, 256, 1024, 512, 64};
  unsigned round = (unsigned)(uintptr_t)number * 1000003;
  for (;;) {
    qwip_session *session = session_of(model);
    uint32_t context = is_slow() ? 64 : contexts[round % 6];
    OK(qwip_session_set_context(session, context));
    // A conversation, its last turn to the end of the context.
    for (int turn = 0; turn < 3; turn++) {
      round++;
      Ask ask = ask_of(turn == 1 ? USER("\\u4f60\\u597d") : USER("What is qwip?"));
      ask.temperature = 1;
      ask.seed = round;
      ask.ignore_eos = 1;
      ask.max_tokens = turn == 2 ? -1 : 20;
      ask.poll = round % 3 == 1;
      if (round % 50 == 7) ask.schema = "{\"enum\":[\"red\",\"green\"]}";
      int last = 3 + (int)(round % 100);
      Answer answer;
      if (round % 4 == 0 && !ask.poll) {
        memset(&answer, 0, sizeof answer);
        answer.hook = stop_at_events;
        answer.user = &last;
        begin(&answer, model, session, &ask);
        end_of(&answer);
      } else {
        answer = answer_of(model, session, &ask);
      }
      OK(answer.status);
      pthread_mutex_lock(&mutex);
      made += json_number(answer.usage.data, "completion_tokens");
      requests++;
      cancelled += strcmp(answer.finish.data, "cancelled") == 0;
      long now = anonymous_kb(), total = made;
      long *peak = &peaks[total * 2 > wanted];
      if (now > *peak) *peak = now;
      pthread_mutex_unlock(&mutex);
      answer_free(&answer);
      if (total >= wanted) {
        OK(qwip_session_free(session));
        return NULL;
      }
    }
    OK(qwip_session_free(session));
    if (round % 97 == 0) OK(qwip_model_on_memory_pressure(model, QWIP_PRESSURE_CRITICAL));
  }
}

int main(int count, char **arguments) {
  CHECK(count == 2 || count == 3);
  wanted = count == 3 ? atol(arguments[2]) : times(30000, 150);
  CHECK(wanted > 0);
  OK(qwip_model_new(&model));
  OK(qwip_model_set_threads(model, 1));
  OK(qwip_model_open_path(model, arguments[1]));
  OK(qwip_model_load(model));
  double start = now_ms();
  pthread_t threads[WORKERS];
  for (int i = 0; i < WORKERS; i++) CHECK(pthread_create(&threads[i], NULL, work, (void *)(uintptr_t)i) == 0);
  for (int i = 0; i < WORKERS; i++) pthread_join(threads[i], NULL);
  double seconds = (now_ms() - start) / 1e3;
  printf("%ld tokens, %ld requests, %ld of them cancelled, %.0f s (%.0f tokens/s); memory of our own at most %ld KB in the "
         "first half, %ld KB in the second\n",
         made, requests, cancelled, seconds, (double)made / seconds, peaks[0], peaks[1]);
  CHECK(is_slow() || (cancelled > 0 && requests > 20));
  CHECK(!is_memory_real() || peaks[1] <= peaks[0] + 4000);
  uint64_t used;
  OK(qwip_model_memory_used(model, &used));
  CHECK(used < 1000000);
  OK(qwip_model_free(model));
  return 0;
}
