"""The ollama package against the server: chat, generate, embed, show, list, ps, errors."""

import json

import ollama

from common import arguments, fails, run

args = arguments()
client = ollama.Client(host=args.url, headers={"Authorization": f"Bearer {args.api_key}"})
question = [{"role": "user", "content": "What is 2+2?"}]
exact = {"temperature": 0, "num_predict": 40, "num_ctx": 1_000_000}


def chat(**more):
    return client.chat(**{"model": args.model, "messages": question, "options": exact, **more})


def a_chat():
    answer = chat()
    assert answer.done and answer.done_reason in ("stop", "length") and answer.message.role == "assistant"
    assert answer.message.content and answer.prompt_eval_count > 0 and 0 < answer.eval_count <= 40
    assert answer.total_duration >= answer.eval_duration > 0


def a_stream_says_the_same():
    lines = list(chat(stream=True))
    assert "".join(line.message.content for line in lines) == chat().message.content
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]


def tools():
    def weather(city: str) -> str:
        """The weather of a city.

        Args:
            city: its name
        """
        return f"sunny in {city}"

    answer = chat(tools=[weather])
    assert answer.done
    calls = [{"function": {"name": "weather", "arguments": {"city": "Rome"}}}]
    history = [*question, {"role": "assistant", "content": "", "tool_calls": calls}]
    history.append({"role": "tool", "tool_name": "weather", "content": "sunny"})
    assert chat(messages=history, tools=[weather]).done


def a_schema():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}
    answer = chat(format=schema, options={**exact, "num_predict": 100})
    assert isinstance(json.loads(answer.message.content)["n"], int)


def a_prompt():
    answer = client.generate(model=args.model, prompt="What is 2+2?", system="Be brief.", options=exact)
    assert answer.done and isinstance(answer.response, str)
    lines = list(client.generate(model=args.model, prompt="One, two,", raw=True, options=exact, stream=True))
    assert lines[-1].done and "".join(line.response for line in lines)


def loading_and_unloading():
    assert client.generate(model=args.model).done_reason == "load"
    assert args.model in [model.model for model in client.ps().models]
    assert client.generate(model=args.model, keep_alive=0).done_reason == "unload"
    assert args.model not in [model.model for model in client.ps().models]
    assert chat(keep_alive="10m").done
    [running] = [model for model in client.ps().models if model.model == args.model]
    assert running.context_length > 0 and running.expires_at


def embeddings():
    found = client.embed(model=args.embedding_model, input=["a text", "another"])
    assert len(found.embeddings) == 2 and found.prompt_eval_count > 0
    old = client.embeddings(model=args.embedding_model, prompt="a text")
    assert list(old.embedding) == list(found.embeddings[0])


def models():
    [listed] = [model for model in client.list().models if model.model == args.model]
    assert listed.size > 0 and listed.details.format == "gguf"
    shown = client.show(args.model)
    assert "completion" in shown.capabilities and shown.template
    assert shown.modelinfo["general.architecture"] == shown.details.family
    assert not any("/" in str(value) for value in shown.modelinfo.values())


def errors_say_what_is_wrong():
    error = fails(ollama.ResponseError, lambda: chat(model="no-such-model"))
    assert error.status_code == 404 and "no-such-model" in error.error
    error = fails(ollama.ResponseError, lambda: chat(options={"temperature": "hot"}))
    assert error.status_code == 400 and "temperature" in error.error
    error = fails(ollama.ResponseError, lambda: client.pull("x"))
    assert error.status_code == 501 and "qwip pull" in error.error


run(
    a_chat,
    a_stream_says_the_same,
    tools,
    a_schema,
    a_prompt,
    loading_and_unloading,
    *([embeddings] if args.embedding_model else []),
    models,
    errors_say_what_is_wrong,
)
