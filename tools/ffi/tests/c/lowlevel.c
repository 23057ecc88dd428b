// Tokens, logits and samples; forks and saved sessions; embeddings and judgements. Models of other kinds are in the folder that
// QWIP_TEST_FIXTURES names (the script `run` makes them).
#include "check.h"

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"
enum { MOST = 600 };

static qwip_model *model;
static size_t vocab;

static size_t tokens_of(const char *text, uint32_t flags, uint32_t *tokens) {
  size_t count;
  OK(qwip_model_tokenize(model, text, strlen(text), flags, tokens, MOST, &count));
  return count;
}

static float *logits_of(qwip_session *session) {
  size_t count;
  float *logits = (float *)malloc(vocab * sizeof *logits);
  OK(qwip_session_logits(session, logits, vocab, &count));
  CHECK(count == vocab);
  return logits;
}

// The logits of both sessions have the same bits.
static void equal(qwip_session *a, qwip_session *b) {
  float *of_a = logits_of(a), *of_b = logits_of(b);
  CHECK(memcmp(of_a, of_b, vocab * sizeof *of_a) == 0);
  free(of_a);
  free(of_b);
}

static size_t length_of(qwip_session *session) {
  size_t length;
  OK(qwip_session_length(session, &length));
  return length;
}

static void facts(void) {
  char *json;
  OK(qwip_model_info(model, &json));
  HAS(json, "\"architecture\":\"qwen3\"");
  HAS(json, "\"task\":\"generate\"");
  HAS(json, "\"has_template\":true");
  HAS(json, "\"thinks\":true");
  HAS(json, "\"tool_format\":\"hermes\"");
  CHECK(json_number(json, "context") == 2048 && json_number(json, "layers") == 4);
  vocab = (size_t)json_number(json, "vocab");
  CHECK(vocab == 4096);
  qwip_string_free(json);
  OK(qwip_model_metadata(model, "general.architecture", &json));
  SAME(json, "\"qwen3\"");
  qwip_string_free(json);
  OK(qwip_model_metadata(model, "qwen3.block_count", &json));
  SAME(json, "4");
  qwip_string_free(json);
  // Of a long array the first thousand: as many commas as there are between them, and more inside of the texts.
  OK(qwip_model_metadata(model, "tokenizer.ggml.token_type", &json));
  size_t commas = 0;
  for (const char *at = json; *at; at++) commas += *at == ',';
  CHECK(commas == 999);
  qwip_string_free(json);
  IS(QWIP_STATUS_NOT_FOUND, qwip_model_metadata(model, "no.such.key", &json));
  CHECK(!json);
  HAS(LAST_ERROR, "no.such.key");
}

static void text_and_tokens(void) {
  static const char text[] = "What is qwip? \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\xa6\x99 <|im_end|> na\xc3\xafve";
  uint32_t tokens[MOST], special[MOST];
  size_t count, counted, length = strlen(text);
  count = tokens_of(text, 0, tokens);
  OK(qwip_model_tokenize(model, text, length, 0, NULL, 0, &counted));
  CHECK(count == counted && count > 5);
  IS(QWIP_STATUS_BUFFER_TOO_SMALL, qwip_model_tokenize(model, text, length, 0, special, count - 1, &counted));
  CHECK(counted == count);
  CHECK(tokens_of(text, QWIP_TOKENIZE_SPECIAL, special) < count);
  CHECK(tokens_of("", 0, special) == 0);
  OK(qwip_model_tokenize(model, NULL, 0, 0, NULL, 0, &counted));
  CHECK(counted == 0);
  char *back;
  OK(qwip_model_detokenize(model, tokens, count, 0, &back));
  SAME(back, text);
  qwip_string_free(back);
  // Token by token, as bytes.
  Text joined = {NULL, 0};
  for (size_t i = 0; i < count; i++) {
    uint8_t bytes[64];
    OK(qwip_model_token_bytes(model, tokens[i], bytes, sizeof bytes, &counted));
    CHECK(counted > 0);
    text_add(&joined, (const char *)bytes, counted);
  }
  SAME(joined.data, text);
  free(joined.data);
  // A U+0000 goes in by its length, and comes out as U+FFFD.
  OK(qwip_model_tokenize(model, "a\0b", 3, 0, tokens, MOST, &count));
  OK(qwip_model_detokenize(model, tokens, count, 0, &back));
  SAME(back, "a\xef\xbf\xbd" "b");
  qwip_string_free(back);

  count = tokens_of("<|im_end|>", QWIP_TOKENIZE_SPECIAL, tokens);
  CHECK(count == 1);
  int32_t is_end;
  OK(qwip_model_is_end(model, tokens[0], &is_end));
  CHECK(is_end == 1);
  OK(qwip_model_token_bytes(model, tokens[0], NULL, 0, &counted));
  CHECK(counted == 0);
  OK(qwip_model_detokenize(model, tokens, 1, 1, &back));
  SAME(back, "<|im_end|>");
  qwip_string_free(back);
  OK(qwip_model_detokenize(model, tokens, 1, 0, &back));
  SAME(back, "");
  qwip_string_free(back);
  count = tokens_of("hello", 0, tokens);
  OK(qwip_model_is_end(model, tokens[0], &is_end));
  CHECK(is_end == 0);

  char *prompt;
  OK(qwip_model_apply_template(model, USER("Hi"), NULL, 0, &prompt));
  SAME(prompt, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n");
  qwip_string_free(prompt);
  OK(qwip_model_apply_template(model, USER("Hi"), "[{\"type\":\"function\",\"function\":{\"name\":\"my_tool\"}}]", 1, &prompt));
  HAS(prompt, "my_tool");
  CHECK(!strstr(prompt, "<think>"));
  qwip_string_free(prompt);
}

// Token by token by hand it is the answer of a request.
static void by_hand(void) {
  qwip_session *session = session_of(model), *other = session_of(model);
  for (int hot = 0; hot < 2; hot++) {
    Ask ask = ask_of(USER("What is qwip?"));
    ask.temperature = hot ? 1.0f : 0.0f;
    Answer answer = answer_of(model, other, &ask);
    char *prompt;
    OK(qwip_model_apply_template(model, ask.messages, NULL, -1, &prompt));
    uint32_t tokens[MOST];
    size_t count = tokens_of(prompt, QWIP_TOKENIZE_SPECIAL, tokens);
    CHECK((long)count == json_number(answer.usage.data, "prompt_tokens"));
    qwip_string_free(prompt);
    qwip_sampler *sampler;
    OK(qwip_sampler_new(model, &sampler));
    OK(qwip_sampler_set_temperature(sampler, ask.temperature));
    OK(qwip_sampler_set_seed(sampler, ask.seed));
    OK(qwip_session_truncate(session, 0));
    OK(qwip_session_decode(session, tokens, count));
    Text text = {NULL, 0};
    text_say(&text, "");
    for (int i = 0; i < ask.max_tokens; i++) {
      uint32_t token;
      int32_t is_end;
      OK(qwip_sampler_sample(sampler, session, &token));
      OK(qwip_model_is_end(model, token, &is_end));
      if (is_end) break;
      uint8_t bytes[64];
      OK(qwip_model_token_bytes(model, token, bytes, sizeof bytes, &count));
      text_add(&text, (const char *)bytes, count);
      OK(qwip_session_decode(session, &token, 1));
    }
    SAME(text.data, answer.text.data);
    free(text.data);
    OK(qwip_sampler_free(sampler));
    answer_free(&answer);
  }
  OK(qwip_session_free(session));
  OK(qwip_session_free(other));
}

static void there_and_back(void) {
  uint32_t tokens[MOST];
  size_t count = tokens_of("The river was low and the stones in it were white, and then the rain came over the hill.", 0, tokens);
  qwip_session *whole = session_of(model), *parts = session_of(model), *fork;
  size_t none;
  IS(QWIP_STATUS_WRONG_STATE, qwip_session_logits(whole, NULL, 0, &none));
  OK(qwip_session_decode(whole, tokens, count));
  for (size_t i = 0; i < count; i++) OK(qwip_session_decode(parts, tokens + i, 1));
  equal(whole, parts);
  CHECK(length_of(whole) == count && length_of(parts) == count);
  uint32_t held[MOST];
  size_t many;
  OK(qwip_session_tokens(parts, held, MOST, &many));
  CHECK(many == count && memcmp(held, tokens, count * sizeof *held) == 0);
  IS(QWIP_STATUS_BUFFER_TOO_SMALL, qwip_session_tokens(parts, held, count - 1, &many));
  CHECK(many == count);

  OK(qwip_session_truncate(parts, count / 2));
  CHECK(length_of(parts) == count / 2);
  IS(QWIP_STATUS_WRONG_STATE, qwip_session_logits(parts, NULL, 0, &none));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_session_truncate(parts, count));
  OK(qwip_session_decode(parts, tokens + 3, 5));
  OK(qwip_session_truncate(parts, count / 2));
  OK(qwip_session_decode(parts, tokens + count / 2, count - count / 2));
  equal(whole, parts);

  // A fork goes its own way, and neither sees the other.
  OK(qwip_session_fork(whole, &fork));
  CHECK(length_of(fork) == count);
  OK(qwip_session_decode(fork, tokens, 4));
  OK(qwip_session_decode(parts, tokens, 4));
  equal(fork, parts);
  OK(qwip_session_free(fork));
  OK(qwip_session_decode(whole, tokens + 5, 1));
  OK(qwip_session_truncate(parts, count));
  OK(qwip_session_decode(parts, tokens + 5, 1));
  equal(whole, parts);

  // A saved session goes on with the same bits.
  char path[400];
  snprintf(path, sizeof path, "%s", temporary("session"));
  OK(qwip_session_save(whole, path));
  qwip_session *again = session_of(model);
  OK(qwip_session_restore(again, path));
  CHECK(length_of(again) == count + 1);
  OK(qwip_session_decode(again, tokens, 3));
  OK(qwip_session_decode(whole, tokens, 3));
  equal(again, whole);
  // Damaged and cut files are refused, and change nothing.
  size_t size;
  char *data = read_file(path, &size);
  for (int i = 0; i < times(60, 8); i++) {
    size_t at = size * (size_t)i / 60;
    if (i % 2) {
      write_file(path, data, at);
    } else {
      data[at] ^= 4;
      write_file(path, data, size);
      data[at] ^= 4;
    }
    IS(QWIP_STATUS_IO, qwip_session_restore(again, path));
    CHECK(length_of(again) == count + 4);
  }
  free(data);
  unlink(path);
  IS(QWIP_STATUS_NOT_FOUND, qwip_session_restore(again, path));
  IS(QWIP_STATUS_NOT_FOUND, qwip_session_save(again, "/no/such/folder/session"));
  CHECK(qwip_session_save(again, "/tmp") != QWIP_STATUS_OK && qwip_session_restore(again, "/tmp") != QWIP_STATUS_OK);
  OK(qwip_session_decode(again, tokens, 1));
  OK(qwip_session_decode(whole, tokens, 1));
  equal(again, whole);
  OK(qwip_session_free(whole));
  OK(qwip_session_free(parts));
  OK(qwip_session_free(again));

  // What is refused leaves the session as it was.
  qwip_session *small = session_of(model);
  OK(qwip_session_set_context(small, 16));
  OK(qwip_session_decode(small, tokens, 10));
  IS(QWIP_STATUS_CONTEXT_FULL, qwip_session_decode(small, tokens, 7));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_session_decode(small, tokens, 0));
  uint32_t wrong = (uint32_t)vocab;
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_session_decode(small, &wrong, 1));
  HAS(LAST_ERROR, "4096");
  CHECK(length_of(small) == 10);
  // It is no model for embeddings or for judgements: that is said, and the tokens are still there.
  float vector[4];
  double score;
  IS(QWIP_STATUS_UNSUPPORTED, qwip_session_embed(small, "text", 4, 0, vector, 4, &count));
  CHECK(length_of(small) == 10);
  IS(QWIP_STATUS_UNSUPPORTED, qwip_session_rerank(small, "query", "document", &score));
  CHECK(length_of(small) == 10);
  OK(qwip_session_decode(small, tokens, 6));
  OK(qwip_session_free(small));
}

static qwip_model *fixture(const char *name) {
  char path[500];
  const char *folder = getenv("QWIP_TEST_FIXTURES");
  CHECK(folder);
  snprintf(path, sizeof path, "%s/%s.gguf", folder, name);
  return load(path);
}

static void embeddings(const char *name) {
  static const char *const texts[] = {"The river was low.", "The river was very low.", "x"};
  qwip_model *embedder = fixture(name);
  char *json;
  OK(qwip_model_info(embedder, &json));
  HAS(json, "\"task\":\"embed\"");
  size_t width = (size_t)json_number(json, "dimensions"), count;
  qwip_string_free(json);
  CHECK(width > 8 && width <= 256);
  qwip_session *session = session_of(embedder);
  float vectors[3][256], cut[8], again[256];
  for (int i = 0; i < 3; i++) {
    OK(qwip_session_embed(session, texts[i], strlen(texts[i]), 0, vectors[i], 256, &count));
    CHECK(count == width);
    double length = 0;
    for (size_t k = 0; k < width; k++) length += (double)vectors[i][k] * vectors[i][k];
    CHECK(fabs(length - 1) < 1e-4);
  }
  CHECK(memcmp(vectors[0], vectors[1], width * sizeof(float)) && memcmp(vectors[0], vectors[2], width * sizeof(float)));
  OK(qwip_session_embed(session, texts[0], strlen(texts[0]), 0, again, 256, &count));
  CHECK(memcmp(again, vectors[0], width * sizeof(float)) == 0);
  OK(qwip_session_embed(session, texts[0], strlen(texts[0]), 8, cut, 8, &count));
  CHECK(count == 8 && fabs((double)cut[0] / cut[1] - (double)again[0] / again[1]) < 1e-3);
  IS(QWIP_STATUS_BUFFER_TOO_SMALL, qwip_session_embed(session, "x", 1, 0, cut, 8, &count));
  CHECK(count == width);
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_session_embed(session, "x", 1, 100000, again, 256, &count));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_session_embed(session, "\xff", 1, 0, again, 256, &count));
  OK(qwip_session_embed(session, texts[0], strlen(texts[0]), 0, again, 256, &count));
  CHECK(memcmp(again, vectors[0], width * sizeof(float)) == 0);
  qwip_status of_nothing = qwip_session_embed(session, "", 0, 0, again, 256, &count);
  CHECK(of_nothing == QWIP_STATUS_OK || of_nothing == QWIP_STATUS_INVALID_ARGUMENT);
  OK(qwip_session_free(session));
  OK(qwip_model_free(embedder));
}

static void judgements(void) {
  qwip_model *reranker = fixture("qwen3-reranker");
  char *json;
  OK(qwip_model_info(reranker, &json));
  HAS(json, "\"task\":\"rerank\"");
  qwip_string_free(json);
  qwip_session *session = session_of(reranker);
  double first, second, again;
  OK(qwip_session_rerank(session, "What came over the hill?", "The rain came over the hill.", &first));
  OK(qwip_session_rerank(session, "What came over the hill?", "x", &second));
  OK(qwip_session_rerank(session, "What came over the hill?", "The rain came over the hill.", &again));
  CHECK(first > 0 && first < 1 && second > 0 && second < 1 && first != second && first == again);
  OK(qwip_session_free(session));
  OK(qwip_model_free(reranker));
}

// A hybrid: its memory goes on, forks and saves like keys and values.
static void hybrid(void) {
  qwip_model *own = model;
  size_t own_vocab = vocab;
  model = fixture("qwen35-untiled");
  char *json;
  OK(qwip_model_info(model, &json));
  vocab = (size_t)json_number(json, "vocab");
  qwip_string_free(json);
  uint32_t tokens[] = {5, 9, 2, 17, 33, 4, 8, 21};
  qwip_session *one = session_of(model), *two = session_of(model), *fork;
  OK(qwip_session_decode(one, tokens, 8));
  for (int i = 0; i < 8; i++) OK(qwip_session_decode(two, tokens + i, 1));
  equal(one, two);
  OK(qwip_session_fork(one, &fork));
  size_t held = length_of(fork);
  CHECK(held <= 8);
  if (held < 8) OK(qwip_session_decode(fork, tokens + held, 8 - held));
  OK(qwip_session_decode(fork, tokens, 2));
  OK(qwip_session_decode(two, tokens, 2));
  equal(fork, two);
  OK(qwip_session_save(two, temporary("hybrid")));
  OK(qwip_session_restore(one, temporary("hybrid")));
  unlink(temporary("hybrid"));
  OK(qwip_session_decode(one, tokens, 1));
  OK(qwip_session_decode(two, tokens, 1));
  equal(one, two);
  OK(qwip_model_on_memory_pressure(model, QWIP_PRESSURE_CRITICAL));
  OK(qwip_session_decode(one, tokens, 1));
  OK(qwip_session_decode(two, tokens, 1));
  equal(one, two);
  OK(qwip_session_free(one));
  OK(qwip_session_free(two));
  OK(qwip_session_free(fork));
  OK(qwip_model_free(model));
  model = own;
  vocab = own_vocab;
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  model = load(arguments[1]);
  facts();
  text_and_tokens();
  by_hand();
  there_and_back();
  embeddings("qwen2-embedding-mean");
  embeddings("qwen3-embedding-last");
  judgements();
  hybrid();
  OK(qwip_model_free(model));
  return 0;
}
