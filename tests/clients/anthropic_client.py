"""The anthropic package against the server: messages, streams, tools, count_tokens, models, errors."""

import anthropic

from common import arguments, fails, run

args = arguments()
client = anthropic.Anthropic(base_url=args.url, api_key=args.api_key, max_retries=0)
weather = {
    "name": "weather",
    "description": "The weather of a city",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
settings = {
    "model": args.model,
    "max_tokens": 40,
    # The package has no argument for it any more.
    "extra_body": {"temperature": 0},
    "messages": [{"role": "user", "content": "What is 2+2?"}],
}


def create(**more):
    return client.messages.create(**{**settings, **more})


def a_message():
    message = create(system="Be brief.")
    assert message.type == "message" and message.role == "assistant" and message.id.startswith("msg_")
    assert message.stop_reason in ("end_turn", "max_tokens")
    assert message.content[0].type == "text" and message.content[0].text
    assert message.usage.input_tokens + message.usage.cache_read_input_tokens > 0
    assert 0 < message.usage.output_tokens <= 40


def limits():
    assert create(max_tokens=1).stop_reason == "max_tokens"
    whole = create().content[0].text
    stop = whole[len(whole) // 2 :][:2]
    cut = create(stop_sequences=[stop])
    assert cut.stop_reason == "stop_sequence" and cut.stop_sequence == stop, cut


def a_stream_says_the_same():
    whole = create()
    with client.messages.stream(**settings) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == whole.content[0].text == message.content[0].text
    assert message.stop_reason == whole.stop_reason
    assert message.usage.output_tokens == whole.usage.output_tokens
    kinds = [event.type for event in create(stream=True)]
    assert kinds[0] == "message_start" and kinds[-2:] == ["message_delta", "message_stop"]
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") > 0


def thinking_is_a_block_of_its_own():
    message = create(thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=200)
    kinds = [block.type for block in message.content]
    assert set(kinds) <= {"thinking", "text"}, kinds
    assert all(block.type == "text" for block in create(thinking={"type": "disabled"}).content)


def a_tool_is_used():
    message = create(tools=[weather], tool_choice={"type": "any"}, max_tokens=200)
    assert message.stop_reason == "tool_use"
    uses = [block for block in message.content if block.type == "tool_use"]
    assert uses[0].name == "weather" and isinstance(uses[0].input["city"], str)
    results = [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"} for use in uses]
    history = [
        *settings["messages"],
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": results},
    ]
    assert create(messages=history, tools=[weather]).stop_reason


def a_tools_input_is_streamed():
    choice = {"type": "tool", "name": "weather", "disable_parallel_tool_use": True}
    with client.messages.stream(**{**settings, "max_tokens": 200}, tools=[weather], tool_choice=choice) as stream:
        fragments = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    assert fragments
    [use] = [block for block in message.content if block.type == "tool_use"]
    assert isinstance(use.input["city"], str)


def tokens_are_counted():
    counted = client.messages.count_tokens(model=args.model, messages=settings["messages"])
    usage = create().usage
    assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens


def models_are_listed():
    assert args.model in [model.id for model in client.models.list()]
    assert client.models.retrieve(args.model).id == args.model


def errors_have_their_classes():
    error = fails(anthropic.NotFoundError, lambda: create(model="no-such-model"))
    assert error.body["error"]["type"] == "not_found_error" and error.body["request_id"] == error.request_id
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    error = fails(anthropic.BadRequestError, lambda: create(messages=[{"role": "user", "content": [image]}]))
    assert "image" in error.body["error"]["message"]
    long = [{"role": "user", "content": "word " * 200_000}]
    error = fails(anthropic.BadRequestError, lambda: create(messages=long))
    assert error.body["error"]["message"].startswith("prompt is too long")
    prefill = [*settings["messages"], {"role": "assistant", "content": "It is"}]
    fails(anthropic.BadRequestError, lambda: create(messages=prefill))


run(
    a_message,
    limits,
    a_stream_says_the_same,
    thinking_is_a_block_of_its_own,
    a_tool_is_used,
    a_tools_input_is_streamed,
    tokens_are_counted,
    models_are_listed,
    errors_have_their_classes,
)
