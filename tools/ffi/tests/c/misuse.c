// Wrong calls: a status and a message each. Every function of the header is called here without a handle and without a place
// for its result (`run` counts them).
#include "check.h"

#include <float.h>

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"
#define BAD_HANDLE(call) IS(QWIP_STATUS_INVALID_HANDLE, call)
#define BAD_ARGUMENT(call) IS(QWIP_STATUS_INVALID_ARGUMENT, call)
#define BAD_STATE(call) IS(QWIP_STATUS_WRONG_STATE, call)

static qwip_model *model;
static const char *path;

// Every call on these four handles, all of which are none.
static void no_handles(qwip_model *m, qwip_session *s, qwip_request *r, qwip_sampler *p) {
  char *text;
  uint64_t bytes;
  uint32_t token = 0;
  size_t count;
  int32_t number;
  double score;
  float value;
  qwip_session *session;
  qwip_request *request;
  qwip_sampler *sampler;
  BAD_HANDLE(qwip_model_free(m));
  BAD_HANDLE(qwip_model_error(m, &text));
  BAD_HANDLE(qwip_model_set_threads(m, 1));
  BAD_HANDLE(qwip_model_set_affinity(m, &token, 1));
  BAD_HANDLE(qwip_model_set_mmap(m, 1));
  BAD_HANDLE(qwip_model_set_mlock(m, 1));
  BAD_HANDLE(qwip_model_set_prefault(m, 1));
  BAD_HANDLE(qwip_model_set_memory_limit(m, 1));
  BAD_HANDLE(qwip_model_set_gpu_layers(m, 1));
  BAD_HANDLE(qwip_model_set_progress(m, NULL, NULL));
  BAD_HANDLE(qwip_model_open_path(m, "x"));
  BAD_HANDLE(qwip_model_open_fd(m, 0, 0, 0));
  BAD_HANDLE(qwip_model_open_memory(m, "x", 1, NULL, NULL));
  BAD_HANDLE(qwip_model_load(m));
  BAD_HANDLE(qwip_model_info(m, &text));
  BAD_HANDLE(qwip_model_metadata(m, "x", &text));
  BAD_HANDLE(qwip_model_estimate(m, 1, 0, &bytes));
  BAD_HANDLE(qwip_model_memory_used(m, &bytes));
  BAD_HANDLE(qwip_model_on_memory_pressure(m, 1));
  BAD_HANDLE(qwip_model_on_thermal(m, 1));
  BAD_HANDLE(qwip_model_background(m));
  BAD_HANDLE(qwip_model_foreground(m));
  BAD_HANDLE(qwip_model_tokenize(m, "x", 1, 0, &token, 1, &count));
  BAD_HANDLE(qwip_model_detokenize(m, &token, 1, 0, &text));
  BAD_HANDLE(qwip_model_token_bytes(m, 1, NULL, 0, &count));
  BAD_HANDLE(qwip_model_is_end(m, 1, &number));
  BAD_HANDLE(qwip_model_apply_template(m, "[]", NULL, 0, &text));
  BAD_HANDLE(qwip_request_new(s, &request));
  BAD_HANDLE(qwip_request_error(r, &text));
  BAD_HANDLE(qwip_request_set_messages(r, "[]"));
  BAD_HANDLE(qwip_request_set_prompt(r, "x"));
  BAD_HANDLE(qwip_request_set_tools(r, "[]"));
  BAD_HANDLE(qwip_request_set_tool_choice(r, "auto"));
  BAD_HANDLE(qwip_request_set_parallel_tool_calls(r, 1));
  BAD_HANDLE(qwip_request_set_json_schema(r, "{}"));
  BAD_HANDLE(qwip_request_set_grammar(r, "x"));
  BAD_HANDLE(qwip_request_set_thinking(r, 1));
  BAD_HANDLE(qwip_request_set_thinking_budget(r, 1));
  BAD_HANDLE(qwip_request_set_template_kwargs(r, "{}"));
  BAD_HANDLE(qwip_request_set_max_tokens(r, 1));
  BAD_HANDLE(qwip_request_add_stop(r, "x"));
  BAD_HANDLE(qwip_request_set_ignore_eos(r, 1));
  BAD_HANDLE(qwip_request_set_sampler(r, p));
  BAD_HANDLE(qwip_request_start(r, NULL, NULL));
  BAD_HANDLE(qwip_request_poll(r, 0, &number, &text));
  BAD_HANDLE(qwip_request_wait(r, 0));
  BAD_HANDLE(qwip_request_cancel(r));
  BAD_HANDLE(qwip_request_result(r, &text));
  BAD_HANDLE(qwip_request_free(r));
  BAD_HANDLE(qwip_sampler_new(m, &sampler));
  BAD_HANDLE(qwip_sampler_free(p));
  BAD_HANDLE(qwip_sampler_error(p, &text));
  BAD_HANDLE(qwip_sampler_set_temperature(p, 1));
  BAD_HANDLE(qwip_sampler_set_top_k(p, 1));
  BAD_HANDLE(qwip_sampler_set_top_p(p, 1));
  BAD_HANDLE(qwip_sampler_set_min_p(p, 1));
  BAD_HANDLE(qwip_sampler_set_repeat_penalty(p, 1));
  BAD_HANDLE(qwip_sampler_set_presence_penalty(p, 1));
  BAD_HANDLE(qwip_sampler_set_frequency_penalty(p, 1));
  BAD_HANDLE(qwip_sampler_set_penalty_last_n(p, 1));
  BAD_HANDLE(qwip_sampler_set_seed(p, 1));
  BAD_HANDLE(qwip_sampler_sample(p, s, &token));
  BAD_HANDLE(qwip_session_new(m, &session));
  BAD_HANDLE(qwip_session_free(s));
  BAD_HANDLE(qwip_session_error(s, &text));
  BAD_HANDLE(qwip_session_set_context(s, 1));
  BAD_HANDLE(qwip_session_set_batch(s, 1));
  BAD_HANDLE(qwip_session_set_cache_types(s, 0, 0));
  BAD_HANDLE(qwip_session_set_rope_scaling(s, 0, 0));
  BAD_HANDLE(qwip_session_estimate(s, 0, &bytes));
  BAD_HANDLE(qwip_session_prepare(s));
  BAD_HANDLE(qwip_session_fork(s, &session));
  BAD_HANDLE(qwip_session_length(s, &count));
  BAD_HANDLE(qwip_session_tokens(s, &token, 1, &count));
  BAD_HANDLE(qwip_session_truncate(s, 0));
  BAD_HANDLE(qwip_session_save(s, "x"));
  BAD_HANDLE(qwip_session_restore(s, "x"));
  BAD_HANDLE(qwip_session_cancel(s));
  BAD_HANDLE(qwip_session_decode(s, &token, 1));
  BAD_HANDLE(qwip_session_logits(s, &value, 1, &count));
  BAD_HANDLE(qwip_session_embed(s, "x", 1, 0, &value, 1, &count));
  BAD_HANDLE(qwip_session_rerank(s, "x", "x", &score));
}

// NULL where there has to be something.
static void no_places(void) {
  size_t count;
  char *text;
  qwip_session *session = session_of(model);
  qwip_request *request;
  qwip_sampler *sampler;
  uint32_t token = 3;
  OK(qwip_request_new(session, &request));
  OK(qwip_sampler_new(model, &sampler));
  BAD_ARGUMENT(qwip_last_error(NULL));
  BAD_ARGUMENT(qwip_model_new(NULL));
  CHECK(qwip_has_feature(NULL) == 0 && qwip_has_feature("nothing") == 0);
  qwip_string_free(NULL);
  BAD_ARGUMENT(qwip_model_error(model, NULL));
  BAD_ARGUMENT(qwip_model_info(model, NULL));
  BAD_ARGUMENT(qwip_model_metadata(model, NULL, &text));
  BAD_ARGUMENT(qwip_model_metadata(model, "x", NULL));
  BAD_ARGUMENT(qwip_model_estimate(model, 1, 0, NULL));
  BAD_ARGUMENT(qwip_model_memory_used(model, NULL));
  BAD_ARGUMENT(qwip_model_tokenize(model, NULL, 1, 0, &token, 1, &count));
  BAD_ARGUMENT(qwip_model_tokenize(model, "x", 1, 0, NULL, 1, &count));
  BAD_ARGUMENT(qwip_model_tokenize(model, "x", 1, 0, &token, 1, NULL));
  BAD_ARGUMENT(qwip_model_tokenize(model, "x", SIZE_MAX, 0, &token, 1, &count));
  BAD_ARGUMENT(qwip_model_detokenize(model, NULL, 1, 0, &text));
  BAD_ARGUMENT(qwip_model_detokenize(model, &token, SIZE_MAX / 2, 0, &text));
  BAD_ARGUMENT(qwip_model_detokenize(model, &token, 1, 0, NULL));
  BAD_ARGUMENT(qwip_model_token_bytes(model, 1, NULL, 9, &count));
  BAD_ARGUMENT(qwip_model_token_bytes(model, 1, NULL, 0, NULL));
  BAD_ARGUMENT(qwip_model_is_end(model, 1, NULL));
  BAD_ARGUMENT(qwip_model_apply_template(model, NULL, NULL, 0, &text));
  BAD_ARGUMENT(qwip_model_apply_template(model, USER("x"), NULL, 0, NULL));
  BAD_ARGUMENT(qwip_session_new(model, NULL));
  BAD_ARGUMENT(qwip_session_error(session, NULL));
  BAD_ARGUMENT(qwip_session_estimate(session, 0, NULL));
  BAD_ARGUMENT(qwip_session_fork(session, NULL));
  BAD_ARGUMENT(qwip_session_length(session, NULL));
  BAD_ARGUMENT(qwip_session_tokens(session, NULL, 0, NULL));
  BAD_ARGUMENT(qwip_session_tokens(session, NULL, 9, &count));
  BAD_ARGUMENT(qwip_session_save(session, NULL));
  BAD_ARGUMENT(qwip_session_restore(session, NULL));
  BAD_ARGUMENT(qwip_session_decode(session, NULL, 1));
  BAD_ARGUMENT(qwip_session_decode(session, NULL, 0));
  BAD_ARGUMENT(qwip_session_embed(session, NULL, 1, 0, NULL, 0, &count));
  BAD_ARGUMENT(qwip_session_rerank(session, "x", "x", NULL));
  OK(qwip_session_decode(session, &token, 1));
  BAD_ARGUMENT(qwip_session_logits(session, NULL, 9, &count));
  BAD_ARGUMENT(qwip_session_logits(session, NULL, 0, NULL));
  BAD_ARGUMENT(qwip_sampler_sample(sampler, session, NULL));
  BAD_HANDLE(qwip_sampler_sample(sampler, NULL, &token));
  BAD_ARGUMENT(qwip_sampler_new(model, NULL));
  BAD_ARGUMENT(qwip_sampler_error(sampler, NULL));
  BAD_ARGUMENT(qwip_request_new(session, NULL));
  BAD_ARGUMENT(qwip_request_error(request, NULL));
  BAD_ARGUMENT(qwip_request_set_messages(request, NULL));
  BAD_ARGUMENT(qwip_request_set_prompt(request, NULL));
  BAD_ARGUMENT(qwip_request_set_tools(request, NULL));
  BAD_ARGUMENT(qwip_request_set_tool_choice(request, NULL));
  BAD_ARGUMENT(qwip_request_set_json_schema(request, NULL));
  BAD_ARGUMENT(qwip_request_set_grammar(request, NULL));
  BAD_ARGUMENT(qwip_request_set_template_kwargs(request, NULL));
  BAD_ARGUMENT(qwip_request_add_stop(request, NULL));
  BAD_HANDLE(qwip_request_set_sampler(request, NULL));
  BAD_STATE(qwip_request_result(request, &text));
  BAD_ARGUMENT(qwip_request_result(request, NULL));
  OK(qwip_request_set_messages(request, USER("Hi")));
  OK(qwip_request_start(request, NULL, NULL));
  BAD_ARGUMENT(qwip_request_poll(request, 0, NULL, &text));
  int32_t kind;
  BAD_ARGUMENT(qwip_request_poll(request, 0, &kind, NULL));
  OK(qwip_request_free(request));
  qwip_model *other;
  OK(qwip_model_new(&other));
  BAD_ARGUMENT(qwip_model_open_path(other, NULL));
  BAD_ARGUMENT(qwip_model_open_memory(other, NULL, 1, NULL, NULL));
  BAD_ARGUMENT(qwip_model_set_affinity(other, NULL, 1));
  OK(qwip_model_set_affinity(other, NULL, 0));
  OK(qwip_model_set_progress(other, NULL, NULL));
  OK(qwip_model_free(other));
  OK(qwip_sampler_free(sampler));
  OK(qwip_session_free(session));
}

// Handles that were freed, that belong to something else, or that are any numbers.
static void wrong_handles(void) {
  qwip_model *m = load(path);
  qwip_session *s = session_of(m);
  qwip_request *r;
  qwip_sampler *p;
  OK(qwip_request_new(s, &r));
  OK(qwip_sampler_new(m, &p));
  no_handles((qwip_model *)s, (qwip_session *)r, (qwip_request *)p, (qwip_sampler *)m);
  no_handles((qwip_model *)r, (qwip_session *)p, (qwip_request *)m, (qwip_sampler *)s);
  no_handles((qwip_model *)p, (qwip_session *)m, (qwip_request *)s, (qwip_sampler *)r);
  HAS(LAST_ERROR, "is not that of a session");
  // In any order; what still needs the others keeps them.
  OK(qwip_model_free(m));
  uint32_t token = 1;
  OK(qwip_session_decode(s, &token, 1));
  OK(qwip_sampler_sample(p, s, &token));
  OK(qwip_request_set_messages(r, USER("Hi")));
  OK(qwip_session_free(s));
  BAD_HANDLE(qwip_request_start(r, NULL, NULL));
  OK(qwip_request_free(r));
  OK(qwip_sampler_free(p));
  no_handles(m, s, r, p);
  HAS(LAST_ERROR, "is freed, or never was one");
  no_handles(NULL, NULL, NULL, NULL);
  HAS(LAST_ERROR, "is NULL");
  uint64_t random = 1;
  for (int i = 0; i < times(2000, 20); i++) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    uintptr_t number = (uintptr_t)(i < 300 ? random % 8192 * 2 : random | (i % 2 ? 0 : (uint64_t)1 << 63));
    if (i == 300) number = (uintptr_t)&random;
    no_handles((qwip_model *)number, (qwip_session *)number, (qwip_request *)number, (qwip_sampler *)number);
  }
}

static void out_of_range(void) {
  const float bad[] = {NAN, INFINITY, -INFINITY, -1000, 1000, FLT_MAX};
  qwip_model *m;
  qwip_session *session = session_of(model);
  qwip_sampler *sampler;
  OK(qwip_sampler_new(model, &sampler));
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    BAD_ARGUMENT(qwip_sampler_set_temperature(sampler, bad[i]));
    BAD_ARGUMENT(qwip_sampler_set_top_p(sampler, bad[i]));
    BAD_ARGUMENT(qwip_sampler_set_min_p(sampler, bad[i]));
    BAD_ARGUMENT(qwip_sampler_set_repeat_penalty(sampler, bad[i]));
    BAD_ARGUMENT(qwip_sampler_set_presence_penalty(sampler, bad[i]));
    BAD_ARGUMENT(qwip_sampler_set_frequency_penalty(sampler, bad[i]));
    if (bad[i] != 1000) BAD_ARGUMENT(qwip_session_set_rope_scaling(session, QWIP_ROPE_YARN, bad[i]));
  }
  BAD_ARGUMENT(qwip_sampler_set_repeat_penalty(sampler, 0));
  OK(qwip_sampler_set_top_k(sampler, UINT32_MAX));
  OK(qwip_sampler_set_penalty_last_n(sampler, UINT32_MAX));
  OK(qwip_sampler_set_seed(sampler, UINT64_MAX));
  OK(qwip_sampler_free(sampler));
  BAD_ARGUMENT(qwip_session_set_batch(session, 4097));
  BAD_ARGUMENT(qwip_session_set_batch(session, UINT32_MAX));
  BAD_ARGUMENT(qwip_session_set_context(session, UINT32_MAX));
  uint64_t bytes;
  BAD_ARGUMENT(qwip_session_estimate(session, 5, &bytes));
  BAD_ARGUMENT(qwip_session_estimate(session, -1, &bytes));
  BAD_ARGUMENT(qwip_session_set_cache_types(session, 3, 0));
  BAD_ARGUMENT(qwip_session_set_cache_types(session, 0, INT_MIN));
  BAD_ARGUMENT(qwip_session_set_rope_scaling(session, 4, 1));
  BAD_ARGUMENT(qwip_session_set_rope_scaling(session, -1, 1));
  uint32_t tokens[] = {1, UINT32_MAX, 4096};
  BAD_ARGUMENT(qwip_session_decode(session, tokens, 2));
  OK(qwip_session_decode(session, tokens, 1));
  BAD_STATE(qwip_session_set_context(session, 100));
  BAD_STATE(qwip_session_set_batch(session, 100));
  BAD_STATE(qwip_session_set_cache_types(session, 0, 0));
  BAD_STATE(qwip_session_set_rope_scaling(session, 0, 0));
  BAD_ARGUMENT(qwip_session_truncate(session, SIZE_MAX));
  OK(qwip_session_free(session));
  // The longest context that there is: a status, whatever the machine has.
  session = session_of(model);
  if (qwip_session_set_context(session, 100000000) == QWIP_STATUS_OK) qwip_session_prepare(session);
  OK(qwip_session_free(session));

  size_t count;
  int32_t flag;
  char *text;
  BAD_ARGUMENT(qwip_model_tokenize(model, "x", 1, 4, tokens, 3, &count));
  BAD_ARGUMENT(qwip_model_detokenize(model, tokens, 3, 0, &text));
  BAD_ARGUMENT(qwip_model_detokenize(model, tokens, 1, 2, &text));
  BAD_ARGUMENT(qwip_model_token_bytes(model, UINT32_MAX, NULL, 0, &count));
  BAD_ARGUMENT(qwip_model_is_end(model, 4096, &flag));
  BAD_ARGUMENT(qwip_model_apply_template(model, USER("x"), NULL, 2, &text));
  BAD_ARGUMENT(qwip_model_estimate(model, 0, 99, &bytes));
  BAD_ARGUMENT(qwip_model_estimate(model, UINT32_MAX, 0, &bytes));
  BAD_ARGUMENT(qwip_model_on_memory_pressure(model, 3));
  BAD_ARGUMENT(qwip_model_on_memory_pressure(model, -1));
  BAD_ARGUMENT(qwip_model_on_thermal(model, 4));
  BAD_ARGUMENT(qwip_model_on_thermal(model, INT_MIN));
  OK(qwip_model_new(&m));
  BAD_ARGUMENT(qwip_model_set_threads(m, 1025));
  BAD_ARGUMENT(qwip_model_set_threads(m, -1));
  BAD_ARGUMENT(qwip_model_set_mmap(m, 2));
  BAD_ARGUMENT(qwip_model_set_mlock(m, -1));
  BAD_ARGUMENT(qwip_model_set_prefault(m, INT_MAX));
  if (!qwip_has_feature("gpu")) IS(QWIP_STATUS_UNSUPPORTED, qwip_model_set_gpu_layers(m, -1));
  OK(qwip_model_set_gpu_layers(m, 0));
  BAD_STATE(qwip_model_on_thermal(m, 0));
  BAD_STATE(qwip_model_background(m));
  BAD_STATE(qwip_model_memory_used(m, &bytes));
  BAD_STATE(qwip_model_estimate(m, 0, 0, &bytes));
  // A processor that there is not: said when the threads are started, and mended.
  uint32_t none[] = {4000000000u};
  qwip_status status = qwip_model_set_affinity(m, none, 1);
  OK(qwip_model_open_path(m, path));
  if (status == QWIP_STATUS_OK) status = qwip_model_load(m);
  CHECK(status != QWIP_STATUS_OK && status != QWIP_STATUS_INTERNAL);
  OK(qwip_model_set_affinity(m, NULL, 0));
  OK(qwip_model_load(m));
  // Of another model.
  OK(qwip_sampler_new(m, &sampler));
  session = session_of(model);
  OK(qwip_session_decode(session, tokens, 1));
  BAD_ARGUMENT(qwip_sampler_sample(sampler, session, tokens));
  OK(qwip_session_free(session));
  OK(qwip_sampler_free(sampler));
  OK(qwip_model_free(m));
  SAME(qwip_status_name(16), "QWIP_STATUS_INTERNAL");
  SAME(qwip_status_name(-1), "unknown");
  SAME(qwip_status_name(17), "unknown");
  SAME(qwip_status_name(INT_MIN), "unknown");
  CHECK(qwip_version()[0]);
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  path = arguments[1];
  model = load(path);
  char *none;
  OK(qwip_last_error(&none));
  SAME(none, "");
  qwip_string_free(none);
  no_handles(NULL, NULL, NULL, NULL);
  no_places();
  wrong_handles();
  out_of_range();
  OK(qwip_model_free(model));
  return 0;
}
