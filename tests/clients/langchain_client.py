"""LangChain's ChatOpenAI against the server: invoke, stream, tools, structured output, embeddings."""

from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from common import arguments, run

args = arguments()
settings = {"base_url": f"{args.url}/v1", "api_key": args.api_key, "model": args.model, "max_retries": 0}
model = ChatOpenAI(**settings, temperature=0, max_tokens=100)


class Answer(BaseModel):
    """An answer."""

    number: int
    certain: bool


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


def invoke():
    answer = model.invoke("What is 2+2?")
    assert answer.content and answer.usage_metadata["output_tokens"] > 0
    assert answer.response_metadata["finish_reason"] in ("stop", "length")


def a_stream_says_the_same():
    assert "".join(chunk.content for chunk in model.stream("What is 2+2?")) == model.invoke("What is 2+2?").content


def a_tool_is_called():
    answer = model.bind_tools([weather], tool_choice="required").invoke("Weather in Rome?")
    [call, *_] = answer.tool_calls
    assert call["name"] == "weather" and isinstance(call["args"]["city"], str)


def structured_output():
    assert isinstance(model.with_structured_output(Answer).invoke("What is 2+2?"), Answer)
    by_tool = model.with_structured_output(Answer, method="function_calling")
    assert isinstance(by_tool.invoke("What is 2+2?"), Answer)


def embeddings():
    # Text as it is: the tokens of OpenAI's models would mean nothing here.
    embedder = OpenAIEmbeddings(
        **{**settings, "model": args.embedding_model}, check_embedding_ctx_length=False
    )
    assert len(embedder.embed_documents(["a", "b"])) == 2


run(
    invoke,
    a_stream_says_the_same,
    a_tool_is_called,
    structured_output,
    *([embeddings] if args.embedding_model else []),
)
