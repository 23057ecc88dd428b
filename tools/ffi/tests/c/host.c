// A host that runs with flush-to-zero and another rounding direction, as audio software does: the logits have the same bits,
// and its control word is what it was after every call. Callbacks run with IEEE's defaults, whatever one of them leaves there.
#include "check.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
// Flush-to-zero, denormals-are-zero, down; then towards zero.
static const uint64_t odd_words[] = {0x1f80 | 0x8000 | 0x0040 | 0x2000, 0x1f80 | 0x8000 | 0x6000, 0x1f80 | 0x4000};
static uint64_t word(void) { return _mm_getcsr() & 0xffc0u; }
static void set_word(uint64_t to) { _mm_setcsr((unsigned)to); }
static const uint64_t ieee = 0x1f80;
#elif defined(__aarch64__)
static const uint64_t odd_words[] = {(uint64_t)1 << 24 | (uint64_t)2 << 22, (uint64_t)1 << 24 | (uint64_t)3 << 22, (uint64_t)1 << 22};
static uint64_t word(void) {
  uint64_t found;
  __asm__ volatile("mrs %0, fpcr" : "=r"(found));
  return found & 0x07f79f07u;
}
static void set_word(uint64_t to) { __asm__ volatile("msr fpcr, %0" ::"r"(to)); }
static const uint64_t ieee = 0;
#else
#error "no float control word is known of this machine"
#endif

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"
enum { VOCAB = 4096 };
static uint64_t odd;

// The call is done, and the word is what it was.
#define KEPT(call)        \
  do {                    \
    OK(call);             \
    CHECK(word() == odd); \
  } while (0)

// 1/3 as it comes out at this moment.
static float third(void) {
  volatile float one = 1, three = 3;
  return one / three;
}

typedef struct {
  float logits[3][VOCAB];
  Answer cold, hot;
  uint32_t sampled;
} Made;

static int spoil, calls;
static int look(Answer *answer, int32_t kind) {
  (void)answer, (void)kind;
  // Whoever changes it spoils nothing.
  CHECK(word() == ieee);
  if (spoil) set_word(odd_words[calls % 3]);
  calls++;
  return 0;
}

static int32_t look_at_progress(uint64_t done, uint64_t total, void *user) {
  (void)done, (void)total, (void)user;
  CHECK(word() == ieee);
  calls++;
  return 0;
}

static void make(const char *path, Made *made) {
  static const uint32_t tokens[] = {1, 50, 300, 7, 4, 4000, 12, 9, 9, 9, 31, 100};
  qwip_model *model;
  qwip_session *session, *fork;
  qwip_sampler *sampler;
  size_t count;
  char *text;
  KEPT(qwip_model_new(&model));
  KEPT(qwip_model_set_threads(model, 2));
  KEPT(qwip_model_set_mmap(model, 0));
  KEPT(qwip_model_set_progress(model, look_at_progress, NULL));
  KEPT(qwip_model_open_path(model, path));
  KEPT(qwip_model_load(model));
  KEPT(qwip_session_new(model, &session));
  KEPT(qwip_session_decode(session, tokens, 11));
  KEPT(qwip_session_logits(session, made->logits[0], VOCAB, &count));
  KEPT(qwip_session_fork(session, &fork));
  KEPT(qwip_session_decode(session, tokens + 11, 1));
  KEPT(qwip_session_logits(session, made->logits[1], VOCAB, &count));
  KEPT(qwip_sampler_new(model, &sampler));
  KEPT(qwip_sampler_set_temperature(sampler, 1));
  KEPT(qwip_sampler_set_seed(sampler, 5));
  KEPT(qwip_sampler_sample(sampler, session, &made->sampled));
  KEPT(qwip_sampler_free(sampler));
  KEPT(qwip_model_on_memory_pressure(model, QWIP_PRESSURE_CRITICAL));
  KEPT(qwip_model_on_thermal(model, QWIP_THERMAL_SERIOUS));
  KEPT(qwip_model_on_thermal(model, QWIP_THERMAL_NOMINAL));
  KEPT(qwip_session_decode(session, tokens, 2));
  KEPT(qwip_session_logits(session, made->logits[2], VOCAB, &count));
  KEPT(qwip_model_info(model, &text));
  qwip_string_free(text);
  KEPT(qwip_model_apply_template(model, USER("Hi"), NULL, -1, &text));
  qwip_string_free(text);
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_session_decode(session, tokens, 0));
  IS(QWIP_STATUS_INVALID_HANDLE, qwip_session_decode(NULL, tokens, 1));
  CHECK(word() == odd);
  Ask ask = ask_of(USER("What is qwip?"));
  for (int hot = 0; hot < 2; hot++) {
    Answer *answer = hot ? &made->hot : &made->cold;
    memset(answer, 0, sizeof *answer);
    answer->hook = look;
    ask.temperature = hot ? 1.0f : 0.0f;
    begin(answer, model, session, &ask);
    CHECK(word() == odd);
    end_of(answer);
    CHECK(word() == odd);
  }
  KEPT(qwip_session_free(fork));
  KEPT(qwip_session_free(session));
  KEPT(qwip_model_free(model));
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  static Made usual, made;
  odd = ieee;
  CHECK(word() == ieee);
  float with_defaults = third();
  make(arguments[1], &usual);
  CHECK(calls > 5);
  for (int i = 0; i < 3; i++) {
    for (spoil = 0; spoil < 2; spoil++) {
      odd = odd_words[i];
      set_word(odd);
      // It is in force: 1/3 to nearest is above 1/3.
      CHECK(word() == odd && (i == 2 || third() < with_defaults));
      make(arguments[1], &made);
      set_word(ieee);
      CHECK(memcmp(usual.logits, made.logits, sizeof usual.logits) == 0 && usual.sampled == made.sampled);
      SAME(usual.cold.text.data, made.cold.text.data);
      SAME(usual.hot.text.data, made.hot.text.data);
      answer_free(&made.cold);
      answer_free(&made.hot);
    }
  }
  answer_free(&usual.cold);
  answer_free(&usual.hot);
  return 0;
}
