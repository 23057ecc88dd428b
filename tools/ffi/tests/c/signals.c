// What the host says of how things are: background, heat, memory; cancelling; how still a session is that nobody uses.
#include "check.h"

#include <ctype.h>
#include <dirent.h>
#include <sched.h>

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"

static qwip_model *model;
static Text long_question;

// Longer than promised only because the machine has other work.
static void in_time(const char *what, double worst) {
  printf("%s: %.1f ms at most\n", what, worst);
  CHECK(worst < (is_slow() ? 20000 : 400));
}

static int count_of(const int *number) { return __atomic_load_n(number, __ATOMIC_SEQ_CST); }

// Counts the events where another thread may look.
static int seen;
static int see(Answer *answer, int32_t kind) {
  (void)answer, (void)kind;
  __atomic_fetch_add(&seen, 1, __ATOMIC_SEQ_CST);
  return 0;
}

static void background(void) {
  qwip_session *session = session_of(model);
  double worst[2] = {0, 0};
  for (int in_answer = 0; in_answer < 2; in_answer++) {
    Ask ask = ask_of(in_answer ? USER("What is qwip?") : long_question.data);
    ask.temperature = 1;
    ask.max_tokens = in_answer ? times(200, 30) : times(20, 5);
    ask.ignore_eos = in_answer;
    OK(qwip_session_truncate(session, 0));
    Answer undisturbed = answer_of(model, session, &ask);
    OK(undisturbed.status);
    for (int round = 0; round < times(12, 1); round++) {
      Answer answer;
      memset(&answer, 0, sizeof answer);
      answer.hook = see;
      OK(qwip_session_truncate(session, 0));
      __atomic_store_n(&seen, 0, __ATOMIC_SEQ_CST);
      begin(&answer, model, session, &ask);
      if (in_answer) {
        while (count_of(&seen) < 3 + round * 3) sleep_ms(1);
      } else {
        sleep_ms(3 * round);
      }
      double start = now_ms();
      OK(qwip_model_background(model));
      double took = now_ms() - start;
      if (took > worst[in_answer]) worst[in_answer] = took;
      // What was computed before is still told.
      sleep_ms(times(20, 500));
      // Nothing moves now.
      int before = count_of(&seen);
      double cpu = cpu_ms();
      sleep_ms(round ? 20 : 300);
      CHECK(count_of(&seen) == before && cpu_ms() - cpu < (is_slow() ? 500 : 15));
      OK(qwip_model_foreground(model));
      end_of(&answer);
      OK(answer.status);
      SAME(answer.text.data, undisturbed.text.data);
      SAME(answer.finish.data, undisturbed.finish.data);
      answer_free(&answer);
    }
    answer_free(&undisturbed);
  }
  in_time("to the background out of a prompt", worst[0]);
  in_time("to the background out of an answer", worst[1]);

  // In the background nothing new begins; what computes nothing works.
  uint32_t tokens[] = {1, 2, 3};
  float value;
  size_t count;
  double score;
  OK(qwip_session_truncate(session, 0));
  OK(qwip_session_decode(session, tokens, 3));
  OK(qwip_model_background(model));
  OK(qwip_model_background(model));
  IS(QWIP_STATUS_BACKGROUND, qwip_session_decode(session, tokens, 3));
  IS(QWIP_STATUS_BACKGROUND, qwip_session_embed(session, "x", 1, 0, &value, 1, &count));
  IS(QWIP_STATUS_BACKGROUND, qwip_session_rerank(session, "x", "x", &score));
  char path[400];
  snprintf(path, sizeof path, "%s", temporary("background"));
  alarm(60);
  OK(qwip_session_save(session, path));
  OK(qwip_session_restore(session, path));
  alarm(0);
  unlink(path);
  OK(qwip_session_length(session, &count));
  CHECK(count == 3);
  // A request waits, and can be cancelled there.
  Ask ask = ask_of(USER("What is qwip?"));
  for (int cancelled = 0; cancelled < 2; cancelled++) {
    Answer answer;
    memset(&answer, 0, sizeof answer);
    begin(&answer, model, session, &ask);
    IS(QWIP_STATUS_TIMEOUT, qwip_request_wait(answer.request, 50));
    if (cancelled) {
      OK(qwip_request_cancel(answer.request));
    } else {
      OK(qwip_model_foreground(model));
    }
    end_of(&answer);
    SAME(answer.finish.data, cancelled ? "cancelled" : "stop");
    answer_free(&answer);
    if (!cancelled) OK(qwip_model_background(model));
  }
  OK(qwip_model_foreground(model));
  OK(qwip_model_foreground(model));
  OK(qwip_session_decode(session, tokens, 3));
  OK(qwip_session_free(session));
}

static int heat_now;
static int change_heat(Answer *answer, int32_t kind) {
  (void)answer, (void)kind;
  OK(qwip_model_on_thermal(model, heat_now++ % 4));
  return 0;
}

static void heat(void) {
  qwip_session *session = session_of(model);
  Ask ask = ask_of(USER("What is qwip?"));
  ask.temperature = 1;
  ask.max_tokens = times(60, 8);
  Answer cool = answer_of(model, session, &ask);
  for (int state = QWIP_THERMAL_CRITICAL; state >= QWIP_THERMAL_NOMINAL; state--) {
    OK(qwip_model_on_thermal(model, state));
    OK(qwip_session_truncate(session, 0));
    double start = now_ms();
    Answer hot = answer_of(model, session, &ask);
    printf("thermal state %d: %.1f ms for an answer\n", state, now_ms() - start);
    SAME(hot.text.data, cool.text.data);
    answer_free(&hot);
  }
  Answer changing;
  memset(&changing, 0, sizeof changing);
  changing.hook = change_heat;
  begin(&changing, model, session, &ask);
  end_of(&changing);
  SAME(changing.text.data, cool.text.data);
  OK(qwip_model_on_thermal(model, QWIP_THERMAL_NOMINAL));
  answer_free(&changing);
  answer_free(&cool);
  OK(qwip_session_free(session));
}

static uint64_t used(void) {
  uint64_t bytes;
  OK(qwip_model_memory_used(model, &bytes));
  return bytes;
}

static void memory(void) {
  qwip_session *session = session_of(model), *calm = session_of(model);
  Ask first = ask_of(long_question.data), second = ask_of(USER("What is qwip?"));
  first.max_tokens = second.max_tokens = times(60, 8);
  uint64_t at_rest = used();
  for (int level = QWIP_PRESSURE_MODERATE; level <= QWIP_PRESSURE_CRITICAL; level++) {
    Answer one = answer_of(model, session, &first);
    uint64_t before = used();
    OK(qwip_model_on_memory_pressure(model, QWIP_PRESSURE_NORMAL));
    CHECK(used() == before);
    OK(qwip_model_on_memory_pressure(model, level));
    uint64_t after = used();
    printf("memory pressure %d: %.1f KB, then %.1f KB\n", level, (double)before / 1e3, (double)after / 1e3);
    CHECK(after < before && (level == QWIP_PRESSURE_CRITICAL ? after == at_rest : after > at_rest));
    // The same conversation goes on, and another one begins.
    Answer again = answer_of(model, session, &first), other = answer_of(model, calm, &first);
    SAME(again.text.data, one.text.data);
    SAME(other.text.data, one.text.data);
    Answer next = answer_of(model, session, &second), same = answer_of(model, calm, &second);
    SAME(next.text.data, same.text.data);
    Answer *all[] = {&one, &again, &other, &next, &same};
    for (int i = 0; i < 5; i++) answer_free(all[i]);
  }
  // While a session is in use it keeps what it has.
  Answer whole = answer_of(model, calm, &first), pressed;
  memset(&pressed, 0, sizeof pressed);
  begin(&pressed, model, session, &first);
  for (int i = 0; i < 20; i++) {
    OK(qwip_model_on_memory_pressure(model, 1 + i % 2));
    sleep_ms(2);
  }
  end_of(&pressed);
  SAME(pressed.text.data, whole.text.data);
  answer_free(&whole);
  answer_free(&pressed);
  // The logits stay, a fork has all tokens, and both compute what is gone again, with the bits that it would have had.
  uint32_t tokens[] = {7, 8, 9, 10};
  static float a[4096], b[4096];
  size_t count;
  OK(qwip_session_truncate(session, 0));
  OK(qwip_session_truncate(calm, 0));
  OK(qwip_session_decode(session, tokens, 3));
  OK(qwip_model_on_memory_pressure(model, QWIP_PRESSURE_CRITICAL));
  OK(qwip_session_decode(calm, tokens, 3));
  OK(qwip_session_logits(session, a, 4096, &count));
  OK(qwip_session_logits(calm, b, 4096, &count));
  CHECK(memcmp(a, b, sizeof a) == 0);
  qwip_session *fork = NULL;
  uint32_t held[4];
  OK(qwip_session_fork(session, &fork));
  OK(qwip_session_tokens(fork, held, 4, &count));
  CHECK(count == 3 && memcmp(held, tokens, 3 * sizeof *held) == 0);
  OK(qwip_session_decode(fork, tokens + 3, 1));
  OK(qwip_session_decode(session, tokens + 3, 1));
  OK(qwip_session_logits(session, a, 4096, &count));
  OK(qwip_session_decode(calm, tokens + 3, 1));
  OK(qwip_session_logits(calm, b, 4096, &count));
  CHECK(memcmp(a, b, sizeof a) == 0);
  OK(qwip_session_logits(fork, b, 4096, &count));
  CHECK(memcmp(a, b, sizeof a) == 0);
  OK(qwip_session_free(fork));
  OK(qwip_session_free(session));
  OK(qwip_session_free(calm));
}

// Milliseconds: no machine is so fast, or so slow, that none of them falls into the call.
static int soon;

static void *cancel_soon(void *session) {
  sleep_ms(soon);
  OK(qwip_session_cancel((qwip_session *)session));
  return NULL;
}

static void cancelling(void) {
  qwip_session *session = session_of(model);
  Ask ask = ask_of(long_question.data);
  // It does not come to its end by itself.
  ask.temperature = 1;
  ask.ignore_eos = 1;
  ask.max_tokens = -1;
  double worst = 0;
  int within = 0, rounds = times(15, 3);
  for (int round = 0; round < rounds; round++) {
    Answer answer;
    memset(&answer, 0, sizeof answer);
    OK(qwip_session_truncate(session, 0));
    begin(&answer, model, session, &ask);
    sleep_ms(round * 3);
    double start = now_ms();
    OK(qwip_request_cancel(answer.request));
    IS(QWIP_STATUS_OK, qwip_request_wait(answer.request, -1));
    double took = now_ms() - start;
    if (took > worst) worst = took;
    within += answer.text.length == 0;
    end_of(&answer);
    SAME(answer.finish.data, "cancelled");
    answer_free(&answer);
  }
  printf("%d of %d within the prompt; ", within, rounds);
  in_time("cancelled", worst);
  // A call that computes on the caller's thread: the session is as it was before.
  static uint32_t tokens[2000];
  for (int i = 0; i < 2000; i++) tokens[i] = (uint32_t)(i % 4000);
  const size_t many = (size_t)times(1900, 400);
  int broken_off = 0;
  for (int round = 0; round < 20 && !broken_off; round++) {
    soon = round;
    pthread_t thread;
    size_t length;
    OK(qwip_session_truncate(session, 0));
    OK(qwip_session_decode(session, tokens, 5));
    CHECK(pthread_create(&thread, NULL, cancel_soon, session) == 0);
    qwip_status status = qwip_session_decode(session, tokens, many);
    pthread_join(thread, NULL);
    OK(qwip_session_length(session, &length));
    if (status != QWIP_STATUS_CANCELLED) OK(status);
    CHECK(length == (status == QWIP_STATUS_OK ? many + 5 : 5));
    broken_off += status == QWIP_STATUS_CANCELLED;
  }
  CHECK(broken_off);
  OK(qwip_session_free(session));
}

static char cores_of[8][200];

// Where the threads of this process may run, the calling one left out.
static int threads_of(int except) {
  DIR *folder = opendir("/proc/self/task");
  CHECK(folder);
  int found = 0;
  for (struct dirent *entry; (entry = readdir(folder));) {
    if (!isdigit((unsigned char)entry->d_name[0]) || atoi(entry->d_name) == except) continue;
    char path[300], line[200];
    snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
    FILE *file = fopen(path, "r");
    if (!file) continue;
    while (fgets(line, sizeof line, file)) {
      if (found < 8 && sscanf(line, "Cpus_allowed_list: %199s", cores_of[found]) == 1) found++;
    }
    fclose(file);
  }
  closedir(folder);
  return found;
}

static int look;
static int look_at_threads(Answer *answer, int32_t kind) {
  (void)answer;
  if (kind == QWIP_EVENT_TEXT && !look) look = threads_of((int)getpid());
  return 0;
}

static void affinity(const char *path) {
  cpu_set_t allowed, after;
  CHECK(sched_getaffinity(0, sizeof allowed, &allowed) == 0);
  uint32_t core = 0;
  while (!CPU_ISSET(core, &allowed)) core++;
  qwip_model *pinned;
  OK(qwip_model_new(&pinned));
  OK(qwip_model_set_threads(pinned, 2));
  OK(qwip_model_set_affinity(pinned, &core, 1));
  OK(qwip_model_open_path(pinned, path));
  OK(qwip_model_load(pinned));
  qwip_session *session = session_of(pinned);
  Ask ask = ask_of(USER("What is qwip?"));
  Answer answer;
  memset(&answer, 0, sizeof answer);
  answer.hook = look_at_threads;
  ask.max_tokens = times(60, 4);
  begin(&answer, pinned, session, &ask);
  end_of(&answer);
  // The request's thread and the one beside it.
  char want[20];
  snprintf(want, sizeof want, "%u", core);
  CHECK(look >= 2);
  for (int i = 0; i < look && i < 8; i++) SAME(cores_of[i], want);
  uint32_t token = 1;
  OK(qwip_session_decode(session, &token, 1));
  CHECK(sched_getaffinity(0, sizeof after, &after) == 0 && CPU_EQUAL(&allowed, &after));
  answer_free(&answer);
  OK(qwip_session_free(session));
  OK(qwip_model_free(pinned));
}

static void idle(void) {
  qwip_session *session = session_of(model);
  Ask ask = ask_of(USER("What is qwip?"));
  Answer answer = answer_of(model, session, &ask);
  answer_free(&answer);
  sleep_ms(50);
  double start = cpu_ms();
  sleep_ms(1000 * times(10, 1));
  double took = cpu_ms() - start;
  printf("an idle session: %.3f ms of processor time in %d s\n", took, times(10, 1));
  CHECK(took < (is_slow() ? 100 : 2));
  OK(qwip_session_free(session));
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  text_say(&long_question, "[{\"role\":\"user\",\"content\":\"");
  for (int i = 0; i < times(190, 12); i++) text_say(&long_question, "Is this story long? ");
  text_say(&long_question, "\"}]");
  affinity(arguments[1]);
  model = load(arguments[1]);
  background();
  heat();
  memory();
  cancelling();
  idle();
  free(long_question.data);
  OK(qwip_model_free(model));
  return 0;
}
