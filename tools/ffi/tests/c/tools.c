// Tools, schemas and grammars.
#include "check.h"

#include <ctype.h>

#define USER(text) "[{\"role\":\"user\",\"content\":\"" text "\"}]"
#define WEATHER                                                                                                        \
  "{\"type\":\"function\",\"function\":{\"name\":\"get_weather\",\"description\":\"The weather of a city\","           \
  "\"parameters\":{\"type\":\"object\",\"properties\":{\"city\":{\"type\":\"string\"}},\"required\":[\"city\"]}}}"
#define ADD                                                                                                            \
  "{\"type\":\"function\",\"function\":{\"name\":\"add\",\"parameters\":{\"type\":\"object\",\"properties\":"          \
  "{\"a\":{\"type\":\"integer\"},\"b\":{\"type\":\"integer\"}},\"required\":[\"a\",\"b\"]}}}"
#define NAMED(name) "{\"type\":\"function\",\"function\":{\"name\":\"" name "\"}}"

static qwip_model *model;
static qwip_session *session;

static Ask asking(const char *messages, const char *tools, const char *choice) {
  Ask ask = ask_of(messages);
  ask.tools = tools;
  ask.choice = choice;
  ask.max_tokens = 200;
  return ask;
}

// One call of this function, in an event of the promised shape and in the result.
static void one_call(const Answer *answer, const char *name) {
  OK(answer->status);
  SAME(answer->finish.data, "tool_calls");
  CHECK(answer->text.length == 0);
  const char *event = answer->calls.data, prefix[] = "{\"index\":0,\"id\":\"call_";
  CHECK(event && strncmp(event, prefix, strlen(prefix)) == 0);
  const char *id = event + strlen(prefix);
  size_t length = strcspn(id, "\"");
  CHECK(length >= 8);
  for (size_t i = 0; i < length; i++) CHECK(isalnum((unsigned char)id[i]));
  char rest[200];
  snprintf(rest, sizeof rest, "\",\"type\":\"function\",\"function\":{\"name\":\"%s\",\"arguments\":\"{", name);
  CHECK(strncmp(id + length, rest, strlen(rest)) == 0);
  CHECK(strchr(event, '\n') == event + answer->calls.length - 1);
  // In the result it is the same without the index.
  HAS(answer->result.data, "\"content\":null,\"tool_calls\":[{\"id\":\"call_");
  char in_result[300];
  snprintf(in_result, sizeof in_result, "\"id\":\"call_%.*s", (int)length, id);
  HAS(answer->result.data, in_result);
  HAS(answer->result.data, "\"finish_reason\":\"tool_calls\"");
}

static void calls(void) {
  Ask ask = asking(USER("What is the weather in Rome?"), "[" WEATHER "]", "auto");
  Answer automatic = answer_of(model, session, &ask);
  one_call(&automatic, "get_weather");
  ask.poll = 1;
  Answer polled = answer_of(model, session, &ask);
  one_call(&polled, "get_weather");

  // What was called goes back, with the tool's answer; the conversation goes on.
  const char *begin = strstr(automatic.result.data, "\"message\":") + 10;
  const char *end = strstr(begin, ",\"finish_reason\"");
  const char *id = strstr(automatic.result.data, "\"id\":\"") + 6;
  Text messages = {NULL, 0};
  text_say(&messages, "[{\"role\":\"user\",\"content\":\"What is the weather in Rome?\"},");
  text_add(&messages, begin, (size_t)(end - begin));
  text_say(&messages, ",{\"role\":\"tool\",\"tool_call_id\":\"");
  text_add(&messages, id, strcspn(id, "\""));
  text_say(&messages, "\",\"content\":\"{\\\"temperature\\\": 21}\"}]");
  ask = asking(messages.data, "[" WEATHER "]", NULL);
  Answer after = answer_of(model, session, &ask);
  OK(after.status);
  CHECK(after.text.length > 0 && after.calls.length == 0);
  CHECK(json_number(after.usage.data, "cached_tokens") > 50);
  free(messages.data);

  ask = asking(USER("Hello!"), "[" WEATHER "," ADD "]", "required");
  Answer required = answer_of(model, session, &ask);
  one_call(&required, strstr(required.calls.data, "\"add\"") ? "add" : "get_weather");
  ask.choice = NAMED("add");
  Answer named = answer_of(model, session, &ask);
  one_call(&named, "add");
  HAS(named.calls.data, "\\\"a\\\"");
  ask.single_call = 1;
  Answer single = answer_of(model, session, &ask);
  one_call(&single, "add");
  ask.choice = "auto";
  ask.messages = USER("What is the weather in Rome?");
  Answer one = answer_of(model, session, &ask);
  one_call(&one, "get_weather");

  // Tools that are not to be called are not even told of.
  ask.choice = "none";
  ask.messages = USER("Hello!");
  Answer none = answer_of(model, session, &ask);
  ask.tools = ask.choice = NULL;
  Answer without = answer_of(model, session, &ask);
  SAME(none.text.data, without.text.data);
  SAME(none.finish.data, "stop");
  CHECK(none.calls.length == 0);
  CHECK(json_number(none.usage.data, "prompt_tokens") == json_number(without.usage.data, "prompt_tokens"));
  Answer *all[] = {&automatic, &polled, &after, &required, &named, &single, &one, &none, &without};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) answer_free(all[i]);
}

// Two calls in one answer: a grammar makes the model write them.
static void two_calls(void) {
  Ask ask = asking(USER("What is the weather in Rome, and 1 + 2?"), "[" WEATHER "," ADD "]", NULL);
  ask.grammar =
      "start: <tool_call> \"\\n{\\\"name\\\": \\\"get_weather\\\", \\\"arguments\\\": {\\\"city\\\": \\\"Rome\\\"}}\\n\" "
      "</tool_call> \"\\n\" <tool_call> \"\\n{\\\"name\\\": \\\"add\\\", \\\"arguments\\\": {\\\"a\\\": 1, \\\"b\\\": 2}}\\n\" "
      "</tool_call>";
  Answer both = answer_of(model, session, &ask);
  OK(both.status);
  SAME(both.finish.data, "tool_calls");
  const char *second = strchr(both.calls.data, '\n') + 1;
  CHECK(strncmp(both.calls.data, "{\"index\":0,", 11) == 0 && strncmp(second, "{\"index\":1,", 11) == 0);
  HAS(both.calls.data, "{\"name\":\"get_weather\",\"arguments\":\"{\\\"city\\\": \\\"Rome\\\"}\"}");
  HAS(second, "{\"name\":\"add\",\"arguments\":\"{\\\"a\\\": 1, \\\"b\\\": 2}\"}");
  answer_free(&both);
}

static void forms(void) {
  Ask ask = ask_of(USER("Hello!"));
  ask.schema =
      "{\"type\":\"object\",\"properties\":{\"color\":{\"enum\":[\"red\",\"green\"]},\"n\":{\"type\":\"integer\","
      "\"minimum\":3,\"maximum\":5}},\"required\":[\"color\",\"n\"],\"additionalProperties\":false}";
  for (int i = 0; i < times(5, 1); i++) {
    ask.temperature = 1;
    ask.seed = (uint64_t)i;
    ask.poll = i % 2;
    Answer made = answer_of(model, session, &ask);
    SAME(made.finish.data, "stop");
    CHECK(strstr(made.text.data, "\"red\"") || strstr(made.text.data, "\"green\""));
    long n = -1;
    const char *key = strstr(made.text.data, "\"n\"");
    CHECK(key && (key = strchr(key, ':')) && sscanf(key + 1, " %ld", &n) == 1 && n >= 3 && n <= 5);
    CHECK(made.text.data[0] == '{' && made.text.data[made.text.length - 1] == '}');
    answer_free(&made);
  }
  // Thinking comes before the form, and is free.
  ask.thinking = 1;
  ask.temperature = 0;
  ask.max_tokens = 300;
  ask.messages = USER("What is 3 + 4?");
  Answer thought = answer_of(model, session, &ask);
  CHECK(thought.reasoning.length > 0 && thought.text.data[0] == '{');
  answer_free(&thought);
  ask = ask_of(USER("Hello!"));
  ask.schema = "{\"enum\":[\"\\u57ce\\u5e02\", 17]}";
  Answer chosen = answer_of(model, session, &ask);
  CHECK(strcmp(chosen.text.data, "17") == 0 || strcmp(chosen.text.data, "\"\xe5\x9f\x8e\xe5\xb8\x82\"") == 0);
  answer_free(&chosen);
  ask.schema = NULL;
  ask.grammar = "start: \"yes\" | \"no\"";
  Answer word = answer_of(model, session, &ask);
  CHECK(strcmp(word.text.data, "yes") == 0 || strcmp(word.text.data, "no") == 0);
  SAME(word.finish.data, "stop");
  answer_free(&word);
}

// What cannot be compiled is an error that says why, and the session goes on.
static void mistakes(void) {
  static const char *const schemas[] = {"{\"type\":\"wrong\"}", "7", "{\"$ref\":\"#/nothing\"}",
                                        "{\"type\":\"string\",\"pattern\":\"(\"}"};
  static const char *const grammars[] = {"start: (", "", "begin: \"a\"", "start: nothing", "start: <no_such_token>"};
  for (size_t i = 0; i < 9; i += (size_t)times(1, 3)) {
    Ask ask = ask_of(USER("Hello!"));
    if (i < 4) ask.schema = schemas[i];
    if (i >= 4) ask.grammar = grammars[i - 4];
    Answer refused = answer_of(model, session, &ask);
    IS(QWIP_STATUS_INVALID_ARGUMENT, refused.status);
    CHECK(refused.error.length > 10 && !strchr(refused.error.data, '\n'));
    answer_free(&refused);
  }
  Ask ask = asking(USER("Hello!"), "[" ADD "]", NAMED("subtract"));
  Answer unknown = answer_of(model, session, &ask);
  IS(QWIP_STATUS_INVALID_ARGUMENT, unknown.status);
  HAS(unknown.error.data, "subtract");
  answer_free(&unknown);
  qwip_request *request;
  OK(qwip_request_new(session, &request));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_tools(request, "{}"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_tools(request, "[{\"type\":\"function\"}]"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_tools(request, "[7]"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_tool_choice(request, "sometimes"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_tool_choice(request, "{\"function\":{\"name\":7}}"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_json_schema(request, "{"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_set_template_kwargs(request, "[]"));
  // A call is required, but there is nothing to call.
  OK(qwip_request_set_messages(request, USER("Hello!")));
  OK(qwip_request_set_tool_choice(request, "required"));
  IS(QWIP_STATUS_INVALID_ARGUMENT, qwip_request_start(request, NULL, NULL));
  // It can be mended and started.
  OK(qwip_request_set_tools(request, "[" ADD "]"));
  OK(qwip_request_set_max_tokens(request, 60));
  OK(qwip_request_start(request, NULL, NULL));
  OK(qwip_request_wait(request, -1));
  OK(qwip_request_free(request));
}

int main(int count, char **arguments) {
  CHECK(count == 2 && qwip_has_feature("constrain"));
  model = load(arguments[1]);
  session = session_of(model);
  calls();
  two_calls();
  forms();
  mistakes();
  OK(qwip_session_free(session));
  OK(qwip_model_free(model));
  return 0;
}
