"""The streams of the real SDKs are stopped while they are blocked, and their servers are told."""

import asyncio
import json
import math

import attrs
import pytest
from loopback import PATIENCE, Reader, wait_until
from peers import PEERS

from llm_kit import Deadlines, StreamInterrupter, StreamTimeoutError, normalize
from llm_kit.testing import FakeServer, Reply

pytestmark = [
    # The SDKs' own, and those of what they import.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]

# Each answer says "Hello", and falls silent.

RESPONSE = {
    "id": "r1",
    "object": "response",
    "created_at": 1700000000,
    "model": "some-model",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
MESSAGE = {"id": "m1", "type": "message", "role": "assistant", "status": "in_progress"}
PART = {"type": "output_text", "text": "", "annotations": []}
PLACE = {"item_id": "m1", "output_index": 0, "content_index": 0}
CLAUDE = {
    "id": "m1",
    "type": "message",
    "role": "assistant",
    "content": [],
    "model": "some-model",
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 1},
}
HEAD = {"id": "c1", "created": 1700000000, "model": "some-model"}
EVENTS = {
    "openai": [
        {
            **HEAD,
            "object": "chat.completion.chunk",
            "choices": [
                {
                    "index": 0,
                    "delta": {"role": "assistant", "content": "Hello"},
                    "finish_reason": None,
                },
            ],
        }
    ],
    "completions": [
        {
            **HEAD,
            "object": "text_completion",
            "choices": [{"index": 0, "text": "Hello", "logprobs": None, "finish_reason": None}],
        }
    ],
    "responses": [
        {"type": "response.created", "response": RESPONSE},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**MESSAGE, "content": []},
        },
        {"type": "response.content_part.added", **PLACE, "part": PART},
        {"type": "response.output_text.delta", **PLACE, "delta": "Hello", "logprobs": []},
    ],
    "anthropic": [
        {"type": "message_start", "message": CLAUDE},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "Hello"},
        },
    ],
    "gemini": [
        {"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": "Hello"}]}}]}
    ],
    "ollama": [
        {
            "model": "some-model",
            "created_at": "2026-01-01T00:00:00Z",
            "message": {"role": "assistant", "content": "Hello"},
            "done": False,
        }
    ],
    "cohere": [
        {"type": "message-start", "id": "c1", "delta": {"message": {"role": "assistant"}}},
        {
            "type": "content-start",
            "index": 0,
            "delta": {"message": {"content": {"type": "text", "text": ""}}},
        },
        {
            "type": "content-delta",
            "index": 0,
            "delta": {"message": {"content": {"text": "Hello"}}},
        },
    ],
}


def silent_answer(peer, after=None):
    """An answer that falls silent behind its text, or behind so many pieces."""
    if peer.dialect == "ollama":
        kind, pieces = "application/x-ndjson", [json.dumps(e) + "\n" for e in EVENTS["ollama"]]
    else:
        kind, pieces = "text/event-stream", []
        for number, event in enumerate(EVENTS[peer.dialect]):
            name = f"event: {event['type']}\n" if "type" in event else ""
            numbered = {"sequence_number": number} if peer.dialect == "responses" else {}
            pieces.append(f"{name}data: {json.dumps(event | numbered)}\n\n")
    reply = Reply([piece.encode() for piece in pieces], headers={"content-type": kind})
    return reply.stall(after=len(pieces) if after is None else after)


@pytest.fixture(params=PEERS.values(), ids=PEERS)
def peer(request):
    """Each SDK, not yet asked."""
    if missing := request.param.missing():
        pytest.skip(missing)
    with request.param() as made:
        yield made


def assert_told(server, colour=None):
    """The server sees the close while the loop goes on, as a program's does; it's asked once."""
    closed = server.requests[0].closed
    if colour is not None and colour.is_async:
        colour.run(asyncio.to_thread(closed.wait, PATIENCE))
    assert closed.wait(PATIENCE), "the server has not seen the close"
    assert len(server.requests) == 1


def test_an_interrupt_frees_the_reader_and_tells_the_server(colour, peer):
    interrupter = StreamInterrupter()
    with FakeServer(silent_answer(peer)) as server:
        stream = interrupter.wrap(peer.open(colour, server.base_url))
        reader = Reader(colour, stream)
        assert wait_until(lambda: reader.text == "Hello" or not reader.is_alive())
        interrupter.interrupt("enough")
        assert reader.wait().error is None
        assert_told(server)
    assert stream.result.status == "interrupted"
    assert stream.result.content == interrupter.content == "Hello"


# Who ask only when they are first read; the others have been answered before we are here.
LAZY = (
    "google-genai",
    "ollama",
    "cohere",
    "langchain-openai",
    "langchain-openai-responses",
    "langchain-anthropic",
)


@pytest.mark.parametrize("peer", [PEERS[name] for name in LAZY], ids=LAZY, indirect=True)
def test_an_interrupt_before_the_headers(colour, peer):
    interrupter = StreamInterrupter()
    with FakeServer(attrs.evolve(silent_answer(peer), delay=math.inf)) as server:
        reader = Reader(colour, interrupter.wrap(peer.open(colour, server.base_url)))
        server.wait_for_request()
        interrupter.interrupt()
        assert reader.wait().error is None
        assert_told(server)
    assert interrupter.result.status == "interrupted"


def test_an_idle_deadline_keeps_what_came_and_tells_the_server(colour, peer):
    with FakeServer(silent_answer(peer)) as server:
        stream = Deadlines(idle=0.05).wrap(peer.open(colour, server.base_url))
        error, _ = colour.fail(stream, StreamTimeoutError)
        assert_told(server, colour)
    assert error.kind == "idle"
    assert error.partial.content == "Hello"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["first_chunk", "total"])
def test_the_other_deadlines(colour, peer, kind):
    with FakeServer(silent_answer(peer, after=0 if kind == "first_chunk" else None)) as server:
        stream = Deadlines(**{kind: 0.5}).wrap(peer.open(colour, server.base_url))
        error, _ = colour.fail(stream, StreamTimeoutError)
        assert_told(server, colour)
    assert error.kind == kind
    assert error.partial.content == ("" if kind == "first_chunk" else "Hello")


def test_a_genuine_cancellation_goes_through_and_leaves_nothing_behind(peer):
    faults = []

    async def read(stream, came):
        async for chunk in stream:
            if chunk.delta:
                came.set()

    async def main(server):
        asyncio.get_running_loop().set_exception_handler(lambda loop, fault: faults.append(fault))
        stream = normalize(await peer.astream(server.base_url))
        came, before = asyncio.Event(), asyncio.all_tasks()
        reading = asyncio.create_task(read(stream, came))
        await asyncio.wait_for(came.wait(), PATIENCE)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await reading
        told = await asyncio.to_thread(server.requests[0].closed.wait, PATIENCE)
        left = asyncio.all_tasks() - before
        await peer.aclose()
        return caught.value, told, left

    with FakeServer(silent_answer(peer)) as server:
        error, told, left = asyncio.run(main(server))
    assert error.partial.content == "Hello"
    assert error.partial.status == "interrupted"
    assert told
    assert not left
    assert not faults


def test_leaving_the_loop_tells_the_server(colour, peer):
    if peer.name == "google-genai" and colour.is_async:
        pytest.skip("its async stream keeps the connection in a ring of references when it is left")
    with FakeServer(silent_answer(peer)) as server:
        stream = normalize(peer.open(colour, server.base_url))
        for chunk in colour.each(stream):
            if chunk.delta:
                break
        colour.close(stream)
        assert_told(server, colour)
    assert stream.result.status == "interrupted"
