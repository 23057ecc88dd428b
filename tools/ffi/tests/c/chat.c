// Conversations: by callback and by poll, with thinking and without, ended by texts and by length, continued from what they
// gave out.
#include "check.h"

static qwip_model *model;

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"

static void both_ways(void) {
  static const char *const asked[] = {USER("What is qwip?"), USER("\\u4f60\\u597d"),
                                      USER("Wie geht\\u2019s, \\ud83d\\ude00?")};
  for (int i = 0; i < times(3, 1); i++) {
    for (int hot = 0; hot < 2; hot++) {
      qwip_session *one = session_of(model), *two = session_of(model);
      Ask ask = ask_of(asked[i]);
      ask.temperature = hot ? 1.0f : 0.0f;
      Answer heard = answer_of(model, one, &ask);
      ask.poll = 1;
      Answer polled = answer_of(model, two, &ask);
      OK(heard.status);
      CHECK(heard.text.length > 0);
      SAME(heard.text.data, polled.text.data);
      SAME(heard.finish.data, polled.finish.data);
      SAME(heard.usage.data, polled.usage.data);
      SAME(heard.result.data, polled.result.data);
      CHECK(heard.progress >= 1 && heard.events > 3);
      answer_free(&heard);
      answer_free(&polled);
      OK(qwip_session_free(one));
      OK(qwip_session_free(two));
    }
  }
}

static void thinking(void) {
  qwip_session *session = session_of(model);
  Ask ask = ask_of(USER("What is 3 + 4?"));
  ask.thinking = 0;
  Answer silent = answer_of(model, session, &ask);
  CHECK(silent.reasoning.length == 0 && silent.text.length > 0);
  CHECK(json_number(silent.usage.data, "reasoning_tokens") == 0);
  ask.thinking = 1;
  ask.max_tokens = times(200, 60);
  Answer loud = answer_of(model, session, &ask);
  CHECK(loud.reasoning.length > 0);
  CHECK(json_number(loud.usage.data, "reasoning_tokens") > 0);
  HAS(loud.result.data, "\"reasoning_content\":");
  CHECK(!strstr(loud.text.data ? loud.text.data : "", "think>"));
  // The template's own variable says the same.
  ask.thinking = -1;
  ask.kwargs = "{\"enable_thinking\": true}";
  Answer same = answer_of(model, session, &ask);
  SAME(loud.reasoning.data, same.reasoning.data);
  ask.kwargs = NULL;
  ask.thinking = 1;
  ask.budget = 3;
  Answer little = answer_of(model, session, &ask);
  // Three tokens of its own, then the sentence that closes it.
  HAS(little.reasoning.data, "limited time");
  const char *own_end = strchr(little.reasoning.data, '\n');
  CHECK(own_end && strncmp(little.reasoning.data, loud.reasoning.data, (size_t)(own_end - little.reasoning.data)) == 0);
  CHECK(little.text.length > 0);
  answer_free(&silent);
  answer_free(&loud);
  answer_free(&same);
  answer_free(&little);
  OK(qwip_session_free(session));
}

static void ends(void) {
  qwip_session *session = session_of(model);
  Ask ask = ask_of(USER("What is qwip?"));
  Answer whole = answer_of(model, session, &ask);
  SAME(whole.finish.data, "stop");
  CHECK(json_number(whole.usage.data, "cached_tokens") == 0);
  long prompt = json_number(whole.usage.data, "prompt_tokens");
  long tokens = json_number(whole.usage.data, "completion_tokens");
  CHECK(prompt > 5 && tokens > 5 && json_number(whole.usage.data, "total_tokens") == prompt + tokens);

  // The word in the middle of the answer ends it, and is not in it.
  char *middle = strchr(whole.text.data + whole.text.length / 2, ' ');
  CHECK(middle);
  char stop[20];
  snprintf(stop, sizeof stop, "%.6s", middle);
  ask.stop[0] = "\001 never";
  ask.stop[1] = stop;
  Answer stopped = answer_of(model, session, &ask);
  SAME(stopped.finish.data, "stop");
  size_t before = (size_t)(strstr(whole.text.data, stop) - whole.text.data);
  CHECK(stopped.text.length == before && memcmp(stopped.text.data, whole.text.data, before) == 0);
  // Its prompt was computed before.
  CHECK(json_number(stopped.usage.data, "cached_tokens") > prompt / 2);

  ask.stop[0] = ask.stop[1] = NULL;
  ask.max_tokens = 3;
  Answer cut = answer_of(model, session, &ask);
  SAME(cut.finish.data, "length");
  CHECK(json_number(cut.usage.data, "completion_tokens") == 3);
  CHECK(strncmp(cut.text.data, whole.text.data, cut.text.length) == 0);
  ask.max_tokens = 0;
  Answer none = answer_of(model, session, &ask);
  SAME(none.finish.data, "length");
  CHECK(none.text.length == 0 && json_number(none.usage.data, "completion_tokens") == 0);
  ask.max_tokens = times(80, 20);
  ask.ignore_eos = 1;
  ask.temperature = 1;
  Answer on = answer_of(model, session, &ask);
  CHECK(json_number(on.usage.data, "completion_tokens") == times(80, 20) || strcmp(on.finish.data, "repetition") == 0);
  answer_free(&whole);
  answer_free(&stopped);
  answer_free(&cut);
  answer_free(&none);
  answer_free(&on);
  OK(qwip_session_free(session));
}

// The result's message goes into the next request as it is; what was computed is not computed again.
static void turns(void) {
  static const char *const said[] = {"Hello!", "What is qwip?", "\\u4f60\\u662f\\u8c01?", "Thank you \\\"so\\\" much\\n"};
  qwip_session *session = session_of(model);
  Text messages = {NULL, 0};
  long prompt = 0;
  for (int i = 0; i < times(4, 2); i++) {
    text_say(&messages, i ? "," : "[");
    text_say(&messages, "{\"role\":\"user\",\"content\":\"");
    text_say(&messages, said[i]);
    text_say(&messages, "\"}]");
    Ask ask = ask_of(messages.data);
    ask.poll = i % 2;
    Answer answer = answer_of(model, session, &ask);
    OK(answer.status);
    CHECK(answer.text.length > 0);
    long cached = json_number(answer.usage.data, "cached_tokens");
    // All of the former prompt but the empty thinking that the template puts before an answer.
    CHECK(i == 0 ? cached == 0 : cached >= prompt - 6);
    prompt = json_number(answer.usage.data, "prompt_tokens");
    long length = json_number(answer.usage.data, "total_tokens");
    const char *begin = strstr(answer.result.data, "\"message\":") + 10;
    const char *end = strstr(answer.result.data, ",\"finish_reason\"");
    CHECK(strncmp(begin, "{\"role\":\"assistant\"", 19) == 0 && end > begin);
    messages.length--;
    text_say(&messages, ",");
    text_add(&messages, begin, (size_t)(end - begin));
    size_t held;
    OK(qwip_session_length(session, &held));
    CHECK((long)held >= length - 1 && (long)held <= length);
    answer_free(&answer);
  }
  free(messages.data);
  OK(qwip_session_free(session));
}

// A prompt as it is: the model goes on with it.
static void text_as_it_is(void) {
  qwip_session *session = session_of(model);
  char *prompt;
  OK(qwip_model_apply_template(model, USER("What is qwip?"), NULL, -1, &prompt));
  HAS(prompt, "<|im_start|>user\nWhat is qwip?<|im_end|>");
  Ask by_messages = ask_of(USER("What is qwip?")), by_prompt = ask_of(NULL);
  by_prompt.prompt = prompt;
  Answer one = answer_of(model, session, &by_messages), two = answer_of(model, session, &by_prompt);
  SAME(one.text.data, two.text.data);
  answer_free(&one);
  answer_free(&two);
  qwip_string_free(prompt);
  // What a message spells is no control token.
  by_messages.messages = USER("<|im_end|>");
  Answer odd = answer_of(model, session, &by_messages);
  OK(odd.status);
  answer_free(&odd);
  OK(qwip_session_free(session));
}

// A conversation that is too long is an error, and the next one works.
static void too_long(void) {
  qwip_session *session = session_of(model);
  OK(qwip_session_set_context(session, 64));
  Text messages = {NULL, 0};
  text_say(&messages, "[{\"role\":\"user\",\"content\":\"");
  for (int i = 0; i < 100; i++) text_say(&messages, "a long story ");
  text_say(&messages, "\"}]");
  Ask ask = ask_of(messages.data);
  Answer refused = answer_of(model, session, &ask);
  IS(QWIP_STATUS_CONTEXT_FULL, refused.status);
  HAS(refused.error.data, "64");
  ask = ask_of(USER("Hi"));
  ask.max_tokens = 200;
  ask.ignore_eos = 1;
  ask.temperature = 1;
  Answer full = answer_of(model, session, &ask);
  OK(full.status);
  CHECK(strcmp(full.finish.data, "length") == 0 || strcmp(full.finish.data, "repetition") == 0);
  CHECK(json_number(full.usage.data, "total_tokens") <= 65);
  answer_free(&refused);
  answer_free(&full);
  free(messages.data);
  OK(qwip_session_free(session));
}

int main(int count, char **arguments) {
  CHECK(count == 2);
  CHECK(qwip_abi_version() == QWIP_ABI_VERSION);
  model = load(arguments[1]);
  both_ways();
  thinking();
  ends();
  turns();
  text_as_it_is();
  too_long();
  OK(qwip_model_free(model));
  return 0;
}
