"""The openai package against the server: chat, streams, tools, schemas, embeddings, errors, responses."""

import json

import openai
from pydantic import BaseModel

from common import arguments, fails, run

args = arguments()
client = openai.OpenAI(base_url=f"{args.url}/v1", api_key=args.api_key, max_retries=0)
question = [{"role": "user", "content": "What is 2+2?"}]
weather = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}, "days": {"type": "integer"}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}


class Answer(BaseModel):
    number: int
    certain: bool


def chat(**more):
    settings = {"model": args.model, "messages": question, "max_tokens": 40, "seed": 1, "temperature": 0.8}
    return client.chat.completions.create(**{**settings, **more})


def chat_answers():
    answer = chat()
    assert answer.object == "chat.completion" and answer.id.startswith("chatcmpl-")
    [choice] = answer.choices
    assert choice.message.role == "assistant" and choice.finish_reason in ("stop", "length")
    usage = answer.usage
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert 0 < usage.completion_tokens <= 40


def the_same_seed_gives_the_same_answer():
    first, second = chat(seed=7), chat(seed=7)
    assert first.choices[0].message.content == second.choices[0].message.content


def several_answers():
    answer = chat(n=3, max_tokens=5)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]


def a_limit_and_a_stop_string_end_answers():
    assert chat(max_tokens=1).choices[0].finish_reason == "length"
    whole = chat(temperature=0).choices[0].message.content
    stop = whole[len(whole) // 2 :][:2]
    cut = chat(temperature=0, stop=[stop]).choices[0]
    assert cut.finish_reason == "stop" and stop not in cut.message.content
    assert whole.startswith(cut.message.content)


def a_stream_says_the_same():
    whole = chat().choices[0].message.content
    chunks = list(chat(stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole, (text, whole)
    assert chunks[-2].choices[0].finish_reason in ("stop", "length")
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens > 0


def log_probabilities():
    answer = chat(logprobs=True, top_logprobs=3, max_tokens=4)
    content = answer.choices[0].logprobs.content
    assert len(content) == answer.usage.completion_tokens
    assert all(entry.logprob <= 0 and len(entry.top_logprobs) == 3 for entry in content)


def a_required_tool_is_called():
    answer = chat(tools=[weather], tool_choice="required", max_tokens=200)
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls", choice
    call = choice.message.tool_calls[0]
    arguments = json.loads(call.function.arguments)
    assert call.id.startswith("call_") and call.function.name == "weather"
    assert isinstance(arguments["city"], str) and isinstance(arguments["days"], int)
    history = [
        *question,
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    assert chat(messages=history, tools=[weather]).choices[0].finish_reason


def a_tools_arguments_are_streamed():
    choice = {"type": "function", "function": {"name": "weather"}}
    names, arguments, reason = [], "", None
    for chunk in chat(tools=[weather], tool_choice=choice, parallel_tool_calls=False, max_tokens=200, stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            assert call.index == 0
            names += [call.function.name] if call.function.name else []
            arguments += call.function.arguments or ""
        reason = chunk.choices[0].finish_reason or reason
    assert names == ["weather"] and reason == "tool_calls"
    assert set(json.loads(arguments)) == {"city", "days"}


def an_answer_is_parsed_into_a_class():
    answer = client.chat.completions.parse(
        model=args.model, messages=question, response_format=Answer, max_tokens=100, seed=1
    )
    assert isinstance(answer.choices[0].message.parsed, Answer)


def an_answer_is_some_json():
    answer = chat(response_format={"type": "json_object"}, max_tokens=300, temperature=0)
    if answer.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(answer.choices[0].message.content), dict)


def texts_are_continued():
    answer = client.completions.create(model=args.model, prompt="One, two,", max_tokens=4, echo=True, logprobs=2)
    [choice] = answer.choices
    assert choice.text.startswith("One, two,")
    logprobs = choice.logprobs
    lengths = {len(logprobs.tokens), len(logprobs.token_logprobs), len(logprobs.top_logprobs), len(logprobs.text_offset)}
    assert len(lengths) == 1 and logprobs.token_logprobs[0] is None
    chunks = client.completions.create(model=args.model, prompt="One, two,", max_tokens=4, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks)


def embeddings():
    texts = ["a text", "another text"]
    packed = client.embeddings.create(model=args.embedding_model, input=texts)
    plain = client.embeddings.create(model=args.embedding_model, input=texts, encoding_format="float")
    assert [entry.index for entry in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data):
        assert len(one.embedding) == len(other.embedding) > 1
        assert all(abs(a - b) < 1e-6 for a, b in zip(one.embedding, other.embedding))
    assert packed.usage.prompt_tokens > 0


def models_are_listed():
    names = [model.id for model in client.models.list()]
    assert args.model in names
    assert client.models.retrieve(args.model).id == args.model


def errors_have_their_classes():
    error = fails(openai.NotFoundError, lambda: chat(model="no-such-model"))
    assert error.code == "model_not_found" and error.request_id
    error = fails(openai.BadRequestError, lambda: chat(temperature="hot"))
    assert error.param == "temperature" and error.type == "invalid_request_error"
    fails(openai.BadRequestError, lambda: chat(messages=[]))
    long = [{"role": "user", "content": "word " * 200_000}]
    error = fails(openai.BadRequestError, lambda: chat(messages=long))
    assert error.code == "context_length_exceeded", error
    bad = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}
    fails(openai.BadRequestError, lambda: chat(response_format=bad))
    fails(openai.BadRequestError, lambda: chat(tool_choice="required"))


def respond(**more):
    settings = {"model": args.model, "input": "What is 2+2?", "max_output_tokens": 40, "temperature": 0}
    return client.responses.create(**{**settings, **more})


def responses_answer():
    answer = respond(instructions="Be brief.")
    assert answer.object == "response" and answer.status in ("completed", "incomplete")
    assert answer.usage.output_tokens > 0 and isinstance(answer.output_text, str)


def responses_are_streamed():
    whole = respond().output_text
    events = list(respond(stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type in ("response.completed", "response.incomplete")
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == whole == events[-1].response.output_text
    with client.responses.stream(model=args.model, input="What is 2+2?", temperature=0) as stream:
        assert any(event.type == "response.output_text.done" for event in stream)
        assert stream.get_final_response().status == "completed"


def responses_call_tools():
    function = {"type": "function", **weather["function"], "strict": True}
    answer = respond(tools=[function], tool_choice="required", max_output_tokens=200)
    calls = [item for item in answer.output if item.type == "function_call"]
    assert set(json.loads(calls[0].arguments)) == {"city", "days"}
    history = [{"role": "user", "content": "Weather?"}, *answer.output]
    history += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls]
    assert respond(input=history, tools=[function]).status in ("completed", "incomplete")


def responses_are_parsed_into_a_class():
    answer = client.responses.parse(model=args.model, input="What is 2+2?", text_format=Answer, max_output_tokens=100)
    assert isinstance(answer.output_parsed, Answer)


def responses_have_no_memory():
    error = fails(openai.BadRequestError, lambda: respond(previous_response_id="resp_1"))
    assert error.param == "previous_response_id"


run(
    chat_answers,
    the_same_seed_gives_the_same_answer,
    several_answers,
    a_limit_and_a_stop_string_end_answers,
    a_stream_says_the_same,
    log_probabilities,
    a_required_tool_is_called,
    a_tools_arguments_are_streamed,
    an_answer_is_parsed_into_a_class,
    an_answer_is_some_json,
    texts_are_continued,
    *([embeddings] if args.embedding_model else []),
    models_are_listed,
    errors_have_their_classes,
    responses_answer,
    responses_are_streamed,
    responses_call_tools,
    responses_are_parsed_into_a_class,
    responses_have_no_memory,
)
