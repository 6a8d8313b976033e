"""normalize: anything that can be iterated becomes a stream of the same colour."""

import asyncio
import collections

import httpx
import httpx2
import openai
import pydantic
import pytest

from llm_kit import (
    APIStatusError,
    AsyncChatStream,
    ChatStream,
    Chunk,
    LLMClient,
    StreamProtocolError,
    StreamTruncatedError,
    normalize,
)
from llm_kit.testing import FakeServer, Reply

MESSAGES = [{"role": "user", "content": "Hello"}]
EVENTS = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "Hel"}}]},
    {"choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]},
]
BODY = (
    b'data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}\r\n\r\n'
    b": keep-alive\n\n"
    b'data: {"choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
PIECES = [BODY[at : at + 7] for at in range(0, len(BODY), 7)]
LINES = BODY.splitlines(keepends=True)
SOURCES = {
    "str": ["Hel", "lo"],
    "dict": EVENTS,
    "Chunk": [Chunk("Hel"), Chunk("lo", finish_reason="stop")],
    "bytes": PIECES,
    "lines": LINES,
    "bytearray": [bytearray(piece) for piece in PIECES],
    "memoryview": [memoryview(piece) for piece in PIECES],
    "mapping": [collections.ChainMap(event) for event in EVENTS],
}


@pytest.mark.parametrize("items", SOURCES.values(), ids=SOURCES)
def test_items(colour, items):
    stream = normalize(colour.source(items))
    assert isinstance(stream, AsyncChatStream if colour.is_async else ChatStream)
    assert "".join(chunk.delta for chunk in colour.read(stream)) == "Hello"
    assert stream.result.status == "complete"
    assert stream.response is None


@pytest.mark.parametrize("items", [SOURCES["dict"][:1], [Chunk("Hel")], PIECES[:9]])
def test_items_that_never_say_that_they_are_finished(colour, items):
    error, chunks = colour.fail(normalize(colour.source(items)), StreamTruncatedError)
    assert error.partial.content == "".join(chunk.delta for chunk in chunks) == "Hel"
    assert error.partial.status == "truncated"


def test_raw_is_the_item(colour):
    assert [chunk.raw for chunk in colour.read(normalize(colour.source(EVENTS)))] == EVENTS


def test_lines_of_text_need_a_dialect(colour):
    lines = BODY.decode().splitlines()
    stream = normalize(colour.source(lines), dialect="openai")
    assert "".join(chunk.delta for chunk in colour.read(stream)) == "Hello"
    assert stream.result.status == "complete"


def test_a_list_a_tuple_and_an_iterator_of_ones_own():
    for items in (["a", "b"], ("a", "b"), iter(["a", "b"]), {"a": 1, "b": 2}.keys()):
        assert [chunk.delta for chunk in normalize(items)] == ["a", "b"]


def test_our_own_streams_are_given_back(colour):
    stream = normalize(colour.source(["a"]))
    assert normalize(stream) is stream
    colour.close(stream)


def test_an_empty_stream_of_text_is_whole_and_one_of_events_is_not(colour):
    error, _ = colour.fail(normalize(colour.source([])), StreamTruncatedError)
    assert "without a single event" in str(error)


def test_an_error_of_the_source_comes_out_as_it_is(colour):
    error, chunks = colour.fail(normalize(colour.source(["a", LookupError("mine")])), LookupError)
    assert [chunk.delta for chunk in chunks] == ["a"]
    assert error.args == ("mine",)
    assert error.partial.content == "a"
    assert error.partial.status == "error"


@pytest.mark.parametrize(
    "item", [{"content": "x"}, {"type": "warming_up", "step": {}}], ids=["dict", "event"]
)
def test_a_dict_of_another_kind_is_not_passed_over(colour, item):
    error, _ = colour.fail(normalize(colour.source(["a", item])), StreamProtocolError)
    assert "can't read a dict with" in str(error)
    assert error.partial.content == "a"


class Answer(pydantic.BaseModel):
    """What an SDK gives that was not asked to stream: it iterates as its fields."""

    choices: list = []


class Context:
    """A request of aiohttp's that nobody has entered or awaited: a coroutine, and more."""

    def __aenter__(self):
        raise AssertionError

    def __await__(self):
        raise AssertionError

    def __iter__(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (Answer(), "an? Answer, which is a whole answer: ask with stream=True"),
        (Context(), "Context: enter it with `async with`"),
        (LLMClient("http://127.0.0.1:9"), r"LLMClient: pass what its chat_stream\(messages\)"),
    ],
)
def test_what_is_no_stream_but_near_to_one(thing, words):
    with pytest.raises(TypeError, match=words):
        normalize(thing)


def test_a_future_is_awaited_first():
    async def wrap():
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(TypeError, match="a Future: await it first"):
            normalize(future)

    asyncio.run(wrap())


@pytest.mark.parametrize("item", [5, None, object()], ids=["int", "None", "object"])
def test_an_unknown_item(colour, item):
    error, _ = colour.fail(normalize(colour.source(["a", item])), StreamProtocolError)
    assert type(item).__qualname__ in str(error)
    assert "items may be Chunk, str, bytes" in str(error)
    assert error.partial.content == "a"


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        ("text", "pass a list, [str]"),
        (b"text", "pass a list, [bytes]"),
        ({"choices": []}, "pass a list, [dict]"),
        (5, "not a int"),
        (None, "pass what `chat_stream` returns"),
    ],
)
def test_what_is_no_stream(thing, says):
    with pytest.raises(TypeError) as caught:
        normalize(thing)
    assert says in str(caught.value)


async def forgotten():
    return


def test_what_should_have_been_entered():
    with (
        openai.OpenAI(api_key="x") as client,
        pytest.raises(TypeError, match="enter it with `with`"),
    ):
        normalize(client.chat.completions.stream(model="m", messages=MESSAGES))


class Both:
    """It can be read in both ways, as type checkers see it first: with `async for`."""

    def __iter__(self):
        raise NotImplementedError

    async def __aiter__(self):
        yield "Hello"


def test_what_can_be_read_in_both_ways_is_async():
    stream = normalize(Both())
    assert isinstance(stream, AsyncChatStream)


class Awaitable:
    def __await__(self):
        return iter(())


@pytest.mark.parametrize("make", [forgotten, Awaitable])
def test_what_should_have_been_awaited(make):
    with pytest.raises(TypeError, match="await it first"):
        normalize(make())


def test_an_unknown_dialect():
    with pytest.raises(ValueError, match="this version speaks 'openai'"):
        normalize([], dialect="klingon")


@pytest.fixture(params=[httpx, httpx2], ids=["httpx", "httpx2"])
def http(request, colour):
    """An HTTP client of the test's colour, and a way to open a response with it."""
    library = request.param
    client = (library.AsyncClient if colour.is_async else library.Client)()
    yield lambda url: colour.run(
        client.send(client.build_request("POST", f"{url}/chat/completions", json={}), stream=True)
    )
    colour.close(client)


def test_a_response(colour, http):
    with FakeServer(Reply.text("Hello, world!")) as server:
        stream = normalize(http(server.base_url))
        assert "".join(chunk.delta for chunk in colour.read(stream)) == "Hello, world!"
        assert stream.result.status == "complete"
        assert stream.response.status_code == 200


def test_a_response_that_is_an_error(colour, http):
    with FakeServer(Reply.error(429, "slow down", headers={"retry-after": "2"})) as server:
        error, _ = colour.fail(normalize(http(server.base_url)), APIStatusError)
    assert (error.status_code, error.retry_after) == (429, 2.0)
    assert "slow down" in str(error)


def test_a_response_that_was_read_before(colour, http):
    with FakeServer(Reply.text("Hello, world!")) as server:
        response = http(server.base_url)
        colour.run(response.aread() if colour.is_async else response.read())
        assert "".join(chunk.delta for chunk in colour.read(normalize(response))) == "Hello, world!"
        response = http(server.base_url)
        colour.read(colour_bytes(colour, response))
        error, _ = colour.fail(normalize(response), StreamProtocolError)
    assert "hand it over unread" in str(error)


def colour_bytes(colour, response):
    return response.aiter_raw() if colour.is_async else response.iter_raw()


def test_a_compressed_response(colour, http):
    import gzip

    body = gzip.compress(BODY)
    reply = Reply.raw(body, sizes=[10, 20]).with_headers({"content-encoding": "gzip"})
    with FakeServer(reply) as server:
        stream = normalize(http(server.base_url))
        assert "".join(chunk.delta for chunk in colour.read(stream)) == "Hello"


@pytest.fixture
def sdk(colour):
    """The openai SDK's own client of the test's colour."""
    clients = []

    def ask(server, **params):
        made = (openai.AsyncOpenAI if colour.is_async else openai.OpenAI)(
            base_url=server.base_url, api_key="sk-sdk", max_retries=0
        )
        clients.append(made)
        return colour.run(
            made.chat.completions.create(model="m", messages=MESSAGES, stream=True, **params)
        )

    yield ask
    for client in clients:
        colour.run(client.close())


def test_the_openai_sdk(colour, sdk):
    reply = Reply.text("Hello, world!", reasoning="hm")
    with FakeServer(reply) as server:
        ours = colour.read(colour.stream(server))
        theirs = normalize(sdk(server, stream_options={"include_usage": True}))
        chunks = colour.read(theirs)
    assert [chunk.delta for chunk in chunks] == [chunk.delta for chunk in ours]
    assert [chunk.reasoning for chunk in chunks] == [chunk.reasoning for chunk in ours]
    assert [chunk.finish_reason for chunk in chunks] == [chunk.finish_reason for chunk in ours]
    assert theirs.result.usage.completion_tokens > 0
    assert theirs.result.status == "complete"
    assert type(chunks[0].raw).__name__ == "ChatCompletionChunk"


def test_tool_calls_of_the_openai_sdk(colour, sdk):
    reply = Reply.tool_calls([{"id": "c", "name": "f", "arguments": {"city": "Paris"}}])
    with FakeServer(reply) as server:
        stream = normalize(sdk(server))
        colour.read(stream)
    (call,) = stream.result.tool_calls
    assert call["function"] == {"name": "f", "arguments": '{"city":"Paris"}'}


def test_the_helper_of_the_openai_sdk():
    """Its events hold the chunks, and others that are derived from them."""
    with (
        FakeServer(Reply.text("Hello, world!")) as server,
        openai.OpenAI(base_url=server.base_url, api_key="sk-sdk", max_retries=0) as client,
        client.chat.completions.stream(model="m", messages=MESSAGES) as events,
    ):
        stream = normalize(events)
        assert "".join(chunk.delta for chunk in stream) == "Hello, world!"
        assert stream.result.status == "complete"


def test_an_object_of_the_sdk_that_is_no_part_of_a_stream(colour):
    item = openai.types.Model.construct(owned_by="x")
    error, _ = colour.fail(normalize(colour.source([item])), StreamProtocolError)
    assert "can't read an openai.types.model.Model" in str(error)


def test_a_cut_stream_of_the_openai_sdk_does_not_pass_as_whole(colour, sdk):
    with FakeServer(Reply.text("one two three").cut(at=700)) as server:
        error, chunks = colour.fail(normalize(sdk(server)), StreamTruncatedError)
    assert error.partial.content == "".join(chunk.delta for chunk in chunks)
    assert error.partial.content
    assert error.__cause__ is not None


def test_an_error_in_a_stream_of_the_openai_sdk(colour, sdk):
    reply = Reply.text("one two").error_event(after=2, error={"message": "boom", "code": 502})
    with FakeServer(reply) as server:
        error, _ = colour.fail(normalize(sdk(server)))
    assert (type(error).__name__, error.message, error.code) == ("StreamAPIError", "boom", 502)
    assert error.partial.content == "one"
