// Layers on a GPU, in a build of the library that can do that.
#include "check.h"

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"

static int calls;
static int32_t watch(uint64_t done, uint64_t total, void *user) {
  CHECK(done <= total && user == (void *)&calls);
  calls++;
  return 0;
}

static int32_t stop(uint64_t done, uint64_t total, void *user) {
  (void)done, (void)total, (void)user;
  return 1;
}

static qwip_model *opened(const char *path, int32_t layers) {
  qwip_model *model = new_model();
  OK(qwip_model_set_gpu_layers(model, layers));
  OK(qwip_model_set_progress(model, watch, (void *)&calls));
  OK(qwip_model_open_path(model, path));
  return model;
}

int main(int count, char **arguments) {
  CHECK(count == 2 && qwip_has_feature("gpu"));
  uint64_t gpu, dirty, on_cpu;
  qwip_model *cpu = load(arguments[1]);
  OK(qwip_model_estimate(cpu, 512, QWIP_MEMORY_GPU, &gpu));
  OK(qwip_model_estimate(cpu, 512, QWIP_MEMORY_DIRTY, &on_cpu));
  CHECK(gpu == 0);
  qwip_session *session = session_of(cpu);
  Ask ask = ask_of(USER("What is qwip?"));
  Answer want = answer_of(cpu, session, &ask);
  OK(qwip_session_free(session));
  OK(qwip_model_free(cpu));
  // Half of the layers, then all of them.
  for (int all = 0; all < 2; all++) {
    qwip_model *model = opened(arguments[1], all ? -1 : 2);
    OK(qwip_model_estimate(model, 512, QWIP_MEMORY_GPU, &gpu));
    OK(qwip_model_estimate(model, 512, QWIP_MEMORY_DIRTY, &dirty));
    CHECK(gpu > 1000000 && dirty < on_cpu);
    OK(qwip_model_set_progress(model, stop, NULL));
    IS(QWIP_STATUS_CANCELLED, qwip_model_load(model));
    calls = 0;
    OK(qwip_model_set_progress(model, watch, (void *)&calls));
    OK(qwip_model_load(model));
    CHECK(calls > 0);
    session = session_of(model);
    Answer answer = answer_of(model, session, &ask);
    OK(answer.status);
    // Sums are ordered otherwise there; the first words are sure enough to be the same.
    CHECK(answer.text.length > 20 && strncmp(answer.text.data, want.text.data, 10) == 0);
    printf("%d layers: %s\n", all ? 4 : 2, answer.text.data);
    // The same again, also when the host gave signals in between.
    OK(qwip_model_background(model));
    OK(qwip_model_foreground(model));
    OK(qwip_model_on_thermal(model, QWIP_THERMAL_SERIOUS));
    OK(qwip_model_on_memory_pressure(model, QWIP_PRESSURE_CRITICAL));
    OK(qwip_model_on_thermal(model, QWIP_THERMAL_NOMINAL));
    Answer again = answer_of(model, session, &ask);
    SAME(again.text.data, answer.text.data);
    IS(QWIP_STATUS_UNSUPPORTED, qwip_session_save(session, temporary("gpu")));
    answer_free(&answer);
    answer_free(&again);
    OK(qwip_session_free(session));
    OK(qwip_model_free(model));
  }
  answer_free(&want);
  return 0;
}
