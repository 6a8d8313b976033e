"""Items of any kind, told by what they are, to chunks."""

import json
from types import MappingProxyType, SimpleNamespace

import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel

from llm_kit import Chunk, Limits, StreamAPIError, StreamProtocolError
from llm_kit.adapters import registry
from llm_kit.adapters.items import ItemDecoder

FINISHED = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}
LINE = f"data: {json.dumps(FINISHED)}"
BODY = f"{LINE}\n\ndata: [DONE]\n\n".encode()


def model_of(payload):
    """An object of the openai SDK, built as the SDK builds it: without validation."""
    return ChatCompletionChunk.construct(**payload)


def read(*items, dialect=None, **settings):
    """The decoder after these items, and their chunks."""
    decoder, chunks = ItemDecoder(dialect, **settings), []
    for item in items:
        decoder.feed(item, chunks)
    decoder.flush(chunks)
    return decoder, chunks


@pytest.mark.parametrize(
    "items",
    [
        [Chunk("Hi", finish_reason="stop")],
        [FINISHED],
        [MappingProxyType(FINISHED)],
        [model_of(FINISHED)],
        [BODY],
        [bytearray(BODY)],
        [memoryview(BODY)],
        [BODY[at : at + 1] for at in range(len(BODY))],
        BODY.splitlines(keepends=True),
        ["Hi", Chunk(finish_reason="stop")],
    ],
    ids=[
        "chunk",
        "dict",
        "mapping",
        "model",
        "bytes",
        "bytearray",
        "memoryview",
        "single bytes",
        "lines",
        "text",
    ],
)
def test_the_same_answer_in_every_kind_of_item(items):
    decoder, chunks = read(*items)
    assert "".join(chunk.delta for chunk in chunks) == "Hi"
    assert [chunk.finish_reason for chunk in chunks if chunk.is_done] == ["stop"]
    assert decoder.quirks == set()
    assert not decoder.ends_by_exhaustion


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\r"])
def test_with_a_dialect_named_text_is_lines(ending):
    lines = [": hello", LINE, "", "data: [DONE]", ""]
    decoder, chunks = read(*(line + ending for line in lines), dialect="openai")
    assert [chunk.delta for chunk in chunks] == ["Hi"]
    assert decoder.done


def test_text_says_nothing_of_its_end():
    decoder, chunks = read("data: ", "Hello\n")
    assert "".join(chunk.delta for chunk in chunks) == "data: Hello\n"
    assert decoder.ends_by_exhaustion
    assert not decoder.done


@pytest.mark.parametrize(
    "items", [[], ["Hi", {"choices": []}], [{"choices": []}, "Hi"], [b""], [Chunk("x")]]
)
def test_whatever_else_must_say_that_it_is_whole(items):
    assert not read(*items)[0].ends_by_exhaustion


def test_subclasses_count():
    class Text(str):
        __slots__ = ()

    class Piece(Chunk):
        pass

    _, chunks = read(Text("a"), Piece("b"))
    assert [chunk.delta for chunk in chunks] == ["a", "b"]


def test_a_chunk_passes_as_it_is():
    chunk = Chunk("x")
    _, (same,) = read(chunk)
    assert same is chunk


def test_raw_is_the_item():
    model = model_of(FINISHED)
    _, chunks = read(FINISHED, model)
    assert chunks[0].raw is FINISHED
    assert chunks[1].raw is model


class Event:
    """An event of the openai SDK's `.stream()`, which holds a chunk or is derived from one."""

    def __init__(self, kind, chunk=None):
        self.type, self.chunk = kind, chunk

    def model_dump(self, **_):
        return {"owned_by": self.type}


def test_events_of_an_sdk_give_the_chunk_once():
    model = model_of(FINISHED)
    event = Event("chunk", model)
    _, chunks = read(event, Event("content.delta"), Event("content.done"))
    assert [(chunk.delta, chunk.raw) for chunk in chunks] == [("Hi", event)]


def message_of(content, **fields):
    """A LangChain message: what it has is in its `__dict__`, as in that of a pydantic model."""
    known = {"additional_kwargs": {}, "response_metadata": {}, "type": "AIMessageChunk"}
    return SimpleNamespace(content=content, **known | fields)


def test_an_adapter_is_asked_before_anything_else(monkeypatch):
    def adapter(event):
        return {"pair": ["H", Chunk("i")], "none": None}.get(event.type, event)

    monkeypatch.setattr(registry, "_adapters", [(Event, adapter)])
    decoder, chunks = read(Event("pair"), Event("none"))
    assert [chunk.delta for chunk in chunks] == ["H", "i"]
    assert not decoder.ends_by_exhaustion
    with pytest.raises(StreamProtocolError, match="as it is"):
        read(Event("itself"))


def test_messages_are_one_stream_of_their_own():
    parts = {"usage_metadata": {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}}
    first, last = message_of("H", **parts), message_of("i", **parts)
    _, chunks = read(first, last)
    assert [chunk.delta for chunk in chunks] == ["H", "i"]
    assert [chunk.raw for chunk in chunks] == [first, last]
    assert chunks[-1].usage.total_tokens == 6


def test_a_broken_message_can_be_skipped():
    broken = message_of([5])
    with pytest.raises(StreamProtocolError, match="content"):
        read(broken)
    decoder, chunks = read(broken, message_of("Hi"), on_malformed="skip")
    assert [chunk.delta for chunk in chunks] == ["Hi"]
    assert decoder.quirks == {"malformed_event_skipped"}


def test_an_end_that_the_server_never_sent_is_none():
    stream = SimpleNamespace(received_finish_reason=None, completion_stream=iter(()))
    _, (chunk,) = read(model_of(FINISHED), stream=stream)
    assert (chunk.delta, chunk.finish_reason) == ("Hi", None)


def test_an_error_names_what_is_taken_and_how_to_teach_more():
    with pytest.raises(StreamProtocolError) as caught:
        read(Stranger())
    told = str(caught.value)
    assert f"can't read a {__name__}.Stranger" in told
    for kind in ("Chunk", "str", "bytes", "dicts", "openai", "google-genai", "langchain"):
        assert kind in told
    assert "register_adapter(ThatClass, lambda item: item.text)" in told


class Answer(BaseModel):
    """Somebody's own model, with names that wire objects have too."""

    id: str = "1"
    text: str = "x"


@pytest.mark.parametrize(
    "item",
    [
        Event("thread"),
        Event(None),
        {"content": "x"},
        {"id": "1", "text": "x"},
        {"object": "answer", "model": "m", "created": 1, "answer": "x"},
        {"output": {"text": "x"}, "usage": {"input_tokens": 1}, "request_id": "1"},  # DashScope's
        Answer(id="1", text="x"),
        Answer(),
    ],
)
def test_objects_of_another_kind_are_refused(item):
    with pytest.raises(StreamProtocolError, match="can't read a"):
        read(item)


def test_a_stream_that_is_known_may_have_objects_of_any_kind():
    begun = {"choices": [{"index": 0, "delta": {"content": "Hi"}}]}
    _, chunks = read(begun, {"id": "1", "text": "x"}, model_of({"obfuscation": "x"}))
    assert [chunk.delta for chunk in chunks if chunk.delta] == ["Hi"]


@pytest.mark.parametrize("item", [{}, {"id": "1", "model": "m", "created": 1}])
def test_an_object_without_anything_in_it_says_nothing(item):
    assert read(item)[1] == []


def test_usage_may_stand_alone():
    (text, chunk) = read("Hi", {"id": "1", "usage": {"total_tokens": 3}})[1]
    assert (text.delta, chunk.usage.total_tokens) == ("Hi", 3)


def test_models_of_doubtful_types_are_read():
    payload = {**FINISHED, "created": "never", "service_tier": 5}
    _, (chunk,) = read(model_of(payload))
    assert (chunk.delta, chunk.created) == ("Hi", None)


class Stranger:
    """Nothing that a stream consists of."""


@pytest.mark.parametrize("item", [None, 5, 1.5, object(), [FINISHED], (b"x",), Stranger()])
def test_an_item_of_no_known_kind_is_named(item):
    with pytest.raises(StreamProtocolError, match=f"can't read an? .*{type(item).__name__}"):
        read(item)


@pytest.mark.parametrize("dialect", ["klingon", "OpenAI"])
def test_an_unknown_dialect(dialect):
    with pytest.raises(ValueError, match="unknown dialect"):
        ItemDecoder(dialect)


@pytest.mark.parametrize("error", [{"error": {"message": "m"}}, b'data: {"error": "m"}\n\n'])
def test_an_item_may_report_an_error(error):
    with pytest.raises(StreamAPIError, match="m"):
        read(error)


def test_a_broken_item_can_be_skipped():
    with pytest.raises(StreamProtocolError):
        read({"choices": 5})
    decoder, chunks = read({"choices": 5}, FINISHED, on_malformed="skip")
    assert [chunk.delta for chunk in chunks] == ["Hi"]
    assert decoder.quirks == {"malformed_event_skipped"}


def test_limits_hold_for_bytes():
    with pytest.raises(StreamProtocolError, match="response="):
        read(BODY, limits=Limits(response=10))


def test_a_last_line_without_its_end_is_read():
    _, chunks = read(LINE.encode())
    assert [chunk.delta for chunk in chunks] == ["Hi"]
