"""What is sent again before the model has said anything, how often, and after which pause."""

import asyncio
import json
import logging
import pickle
import re
import socket
import threading
import time

import httpx
import pytest
from loopback import PATIENCE, Reader, wait_until

from llm_kit import (
    APIConnectionError,
    APIStatusError,
    AsyncLLMClient,
    Deadlines,
    LLMKitError,
    RetryPolicy,
    StreamAPIError,
    StreamInterrupter,
    StreamProtocolError,
    StreamTruncatedError,
)
from llm_kit.testing import Cut, FakeServer, Reply, Reset, Stall

MESSAGES = [{"role": "user", "content": "Hello"}]
TEXT = Reply.text("one two three")
SOON = RetryPolicy(pause=0.001)
LATER = Reply.error(503, headers={"retry-after": "30"})


def frame(delta=None, finish_reason=None, **more):
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


ROLE = frame({"role": "assistant", "content": ""})
DONE = b"data: [DONE]\n\n"
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'


def error_event(code=500, **fields):
    return b"data: " + json.dumps({"error": {"message": "boom", "code": code, **fields}}).encode()


def bare(*steps):
    return Reply(steps, framing="bare")


@pytest.fixture
def paused():
    """Set as soon as a stream has decided to pause before its next attempt."""
    seen = threading.Event()

    class Watching(logging.Handler):
        def emit(self, record):
            if "next in" in record.getMessage():
                seen.set()

    log, handler = logging.getLogger("llm_kit"), Watching()
    level = log.level
    log.setLevel(logging.DEBUG)
    log.addHandler(handler)
    yield seen
    log.removeHandler(handler)
    log.setLevel(level)


# Which failures are retried

PASSING = {
    "408": Reply.error(408),
    "409": Reply.error(409),
    "429": Reply.error(429),
    "500": Reply.error(500),
    "502 in HTML": Reply(
        (b"<html>Bad Gateway</html>",), 502, {"content-type": "text/html"}, "length"
    ),
    "503": Reply.error(503),
    "504": Reply.error(504),
    "529": Reply.error(529),
    "an error whose body is cut": Reply.error(503).cut(at=5),
    "a reset before the headers": bare(Reset()),
    "a close before the headers": bare(),
    "half a head": bare(b"HTTP/1.1 200 OK\r\ncontent-ty"),
    "an empty 200": Reply(()),
    "an empty 200 with a length": Reply((), framing="length"),
    "an empty 200 that the close ends": Reply((), framing="close"),
    "nothing but comments": Reply((b": ping\n\n",)),
    "the end marker alone": Reply((DONE,)),
    "usage and the end marker": Reply((USAGE, DONE)),
    "cut before its first chunk": Reply((b": ping\n\n", Cut())),
    "reset before its first chunk": Reply((b": ping\n\n", Reset())),
    "cut within its first event": Reply((b'data: {"choices": [{"in', Cut())),
    "cut behind a lone role": Reply((ROLE, Cut())),
    "reset behind a lone role": Reply((ROLE, Reset())),
    "over behind a lone role": Reply((ROLE,)),
    "empty chunks, then cut": Reply((frame(), frame(), Cut())),
    "an error event 500": Reply((error_event(500) + b"\n\n",)),
    "an error event 429": Reply((error_event(429) + b"\n\n",)),
    "an error event '503'": Reply((error_event("503") + b"\n\n",)),
    "an error event without a code": Reply((error_event(None) + b"\n\n",)),
    "an error event behind a role": Reply((ROLE, error_event(502) + b"\n\n")),
    "an error as the JSON body of a 200": Reply(
        (b'{"error": {"message": "overloaded", "code": 529}}',),
        headers={"content-type": "application/json"},
    ),
    "a finish_reason that is an error": Reply((ROLE, frame(finish_reason="error"), DONE)),
}


@pytest.mark.parametrize("failure", PASSING.values(), ids=PASSING)
def test_is_retried(colour, failure):
    with FakeServer(failure, failure, TEXT) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        chunks = colour.read(stream)
        assert len(server.requests) == 3
        assert stream.result.attempts == 3
        assert stream.result.status == "complete"
        assert stream.result.content == "one two three"
        text = ""
        for chunk in chunks:
            text = chunk.delta if chunk.restarted else text + chunk.delta
        assert text == "one two three"
        # The same was asked each time.
        assert len({request.body for request in server.requests}) == 1


@pytest.mark.parametrize(
    "failure",
    ["429", "a reset before the headers", "an empty 200", "cut behind a lone role"],
)
def test_one_attempt_is_no_retry(colour, failure):
    with FakeServer(PASSING[failure], TEXT) as server:
        stream = colour.client(server, retry=RetryPolicy(attempts=1)).chat_stream(MESSAGES)
        colour.fail(stream, LLMKitError)
        assert len(server.requests) == 1


LASTING = {
    "400": (Reply.error(400), APIStatusError),
    "401": (Reply.error(401), APIStatusError),
    "403": (Reply.error(403), APIStatusError),
    "404": (Reply.error(404), APIStatusError),
    "422": (Reply.error(422), APIStatusError),
    "a redirect": (Reply((), 307, {"location": "/"}, "length"), APIStatusError),
    "an error event 400": (Reply((error_event(400) + b"\n\n",)), StreamAPIError),
    "an error event 401": (Reply((error_event(401) + b"\n\n",)), StreamAPIError),
    "an error event '404'": (Reply((error_event("404") + b"\n\n",)), StreamAPIError),
    "HTML": (
        Reply((b"<!DOCTYPE html><title>Log in",), headers={"content-type": "text/html"}),
        StreamProtocolError,
    ),
    "no event stream": (Reply((b"Hello, I am a web server\n",)), StreamProtocolError),
    "a garbled event": (
        Reply((b"data: {garbled\n\n", frame({"content": "one"}))),
        StreamProtocolError,
    ),
    "a wrong encoding": (
        Reply((b"no gzip at all",), headers={"content-encoding": "gzip"}),
        StreamProtocolError,
    ),
}


@pytest.mark.parametrize(("failure", "kind"), LASTING.values(), ids=LASTING)
def test_is_not_retried(colour, failure, kind):
    with FakeServer(failure, TEXT) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        error, _ = colour.fail(stream, kind)
        assert type(error) is kind
        assert len(server.requests) == stream.result.attempts == 1


BEGUN = {
    "text": {"content": "one"},
    "reasoning": {"reasoning_content": "Hm"},
    "a refusal": {"refusal": "No"},
    "a tool call": {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f"}}]},
}


@pytest.mark.parametrize(
    "end", [Cut(), Reset(), error_event(503) + b"\n\n"], ids=["cut", "reset", "error"]
)
@pytest.mark.parametrize("delta", BEGUN.values(), ids=BEGUN)
def test_an_answer_that_has_begun_is_never_asked_for_again(colour, delta, end):
    with FakeServer(Reply((ROLE, frame(delta), end)), TEXT) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        error, chunks = colour.fail(stream, LLMKitError)
        assert type(error) is (StreamAPIError if isinstance(end, bytes) else StreamTruncatedError)
        assert len(server.requests) == stream.result.attempts == 1
        assert not any(chunk.restarted for chunk in chunks)
        assert error.partial.chunk_count == 2


def test_an_empty_answer_that_is_whole_is_not_retried(colour):
    with FakeServer(Reply.text(""), TEXT) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        colour.read(stream)
        assert (stream.result.status, stream.result.content) == ("complete", "")
        assert len(server.requests) == 1


def test_a_certificate_that_does_not_verify_is_not_retried(colour, tls):
    with FakeServer(TEXT, ssl_context=tls.server()) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        error, _ = colour.fail(stream, APIConnectionError)
        assert "certificate" in str(error).lower()
        assert server.connections == stream.result.attempts == 1


def test_a_chunk_of_a_role_is_void_when_the_answer_begins_anew(colour):
    with FakeServer(Reply((ROLE, Cut())), TEXT) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        chunks = colour.read(stream)
        assert [chunk.restarted for chunk in chunks[:3]] == [False, True, False]
        assert [chunk.role for chunk in chunks[:3]] == ["assistant", None, "assistant"]
        assert stream.result.chunk_count == len(chunks) - 1


def test_nothing_is_void_where_nothing_was_given(colour):
    with FakeServer(Reply((b": ping\n\n", Cut())), TEXT) as server:
        chunks = colour.read(colour.client(server, retry=SOON).chat_stream(MESSAGES))
        assert not any(chunk.restarted for chunk in chunks)


# The last error, and what was before


def test_the_last_error_comes_out_when_the_attempts_are_used_up(colour):
    replies = [Reply.error(500, "first"), Reply.error(502, "second"), Reply.error(503, "third")]
    with FakeServer(*replies, TEXT) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        error, chunks = colour.fail(stream, APIStatusError)
        assert error.status_code == 503
        assert [type(error.__cause__), error.__cause__.status_code] == [APIStatusError, 502]
        assert error.__cause__.__cause__.status_code == 500
        assert len(server.requests) == stream.result.attempts == error.partial.attempts == 3
        assert chunks == []
        assert stream.result.status == "error"
        assert stream.response.status_code == 503


def test_a_lasting_error_behind_a_passing_one(colour):
    with FakeServer(Reply.error(503), Reply.error(401), TEXT) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        error, _ = colour.fail(stream, APIStatusError)
        assert error.status_code == 401
        assert error.__cause__.status_code == 503
        assert len(server.requests) == 2


def test_the_chain_goes_on_behind_the_cause(colour):
    """An error of the network's has httpx's as its cause: what was before stands behind that."""
    with FakeServer(Reply.error(503), bare(Reset())) as server:
        stream = colour.client(server, retry=RetryPolicy(attempts=2, pause=0)).chat_stream(MESSAGES)
        error, _ = colour.fail(stream, APIConnectionError)
    chain, seen = [], error
    while seen is not None:
        chain.append(seen)
        seen = seen.__cause__ or seen.__context__
    assert isinstance(error.__cause__, httpx.HTTPError)
    assert [each.status_code for each in chain if isinstance(each, APIStatusError)] == [503]


@pytest.mark.parametrize("protocol", [2, pickle.HIGHEST_PROTOCOL])
def test_the_last_error_pickles(colour, protocol):
    with FakeServer(Reply.error(503), bare(Reset()), Reply((ROLE, Cut()))) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        error, _ = colour.fail(stream, StreamTruncatedError)
    again = pickle.loads(pickle.dumps(error, protocol))
    assert (type(again), str(again)) == (StreamTruncatedError, str(error))
    assert again.partial == error.partial
    assert again.partial.attempts == 3


def test_a_policy_of_the_request_holds_in_place_of_the_clients(colour):
    with FakeServer(Reply.error(503)) as server:
        client = colour.client(server, retry=RetryPolicy(attempts=5, pause=0))
        colour.fail(client.chat_stream(MESSAGES, retry=RetryPolicy(attempts=2, pause=0)))
        assert len(server.requests) == 2
        colour.fail(client.chat_stream(MESSAGES))
        assert len(server.requests) == 7


def test_by_default_there_are_three_attempts(colour):
    client_class = type(colour.client("http://unused.invalid/v1"))
    with FakeServer(Reply.error(503, headers={"retry-after": "0"})) as server:
        client = client_class(base_url=server.base_url, model="m")
        stream = client.chat_stream(MESSAGES)
        colour.fail(stream, APIStatusError)
        assert len(server.requests) == stream.result.attempts == 3
        colour.close(client)


# No connection


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_server_that_comes_up_between_two_attempts(colour, paused):
    port = free_port()
    client = colour.client(
        f"http://127.0.0.1:{port}/v1", retry=RetryPolicy(attempts=1000, pause=0.02, max_pause=0.02)
    )
    stream = client.chat_stream(MESSAGES)
    reader = Reader(colour, stream)
    assert paused.wait(PATIENCE)
    with FakeServer(TEXT, port=port) as server:
        assert reader.wait().error is None
        assert stream.result.content == "one two three"
        assert stream.result.attempts > 1
        assert len(server.requests) == 1


def test_a_server_that_never_comes_up(colour):
    stream = colour.client(f"http://127.0.0.1:{free_port()}/v1", retry=SOON).chat_stream(MESSAGES)
    error, _ = colour.fail(stream, APIConnectionError)
    assert stream.result.attempts == error.partial.attempts == 3
    assert type(error) is APIConnectionError


def test_a_proxy_that_is_not_there_is_retried(colour):
    made = httpx.AsyncClient if colour.is_async else httpx.Client
    http = made(proxy=f"http://127.0.0.1:{free_port()}", trust_env=False)
    client = colour.client("http://any.invalid/v1", http_client=http, retry=SOON)
    stream = client.chat_stream(MESSAGES)
    colour.fail(stream, APIConnectionError)
    assert stream.result.attempts == 3
    colour.close(http)


def test_a_stale_connection_of_the_pool(colour):
    """The server has closed it between two requests: that costs no attempt a newcomer counts."""
    with FakeServer(TEXT) as server:
        client = colour.client(server, retry=SOON)
        colour.read(client.chat_stream(MESSAGES))
        server.close()
        server.start()
        stream = client.chat_stream(MESSAGES)
        colour.read(stream)
        assert stream.result.content == "one two three"
        assert len(server.requests) == 2


# Pauses


def dated(when):
    return {"date": "Wed, 21 Oct 2026 07:28:00 GMT", "retry-after": when}


SHORT_ASKED = {
    "0": {"retry-after": "0"},
    "a fraction": {"retry-after": "0.05"},
    "milliseconds": {"retry-after-ms": "20"},
    "milliseconds before seconds": {"retry-after-ms": "20", "retry-after": "30"},
    "this very moment": dated("Wed, 21 Oct 2026 07:28:00 GMT"),
    "a moment that is over": dated("Wed, 21 Oct 2015 07:28:00 GMT"),
}


@pytest.mark.parametrize("headers", SHORT_ASKED.values(), ids=SHORT_ASKED)
def test_a_short_pause_that_the_server_asks_for_is_held(colour, headers):
    with FakeServer(Reply.error(429, headers=headers), TEXT) as server:
        # The policy's own pause would be far too long.
        client = colour.client(server, retry=RetryPolicy(pause=10_000, max_pause=10_000))
        stream = client.chat_stream(MESSAGES)
        assert Reader(colour, stream).wait().error is None
        assert stream.result.attempts == len(server.requests) == 2


def test_a_pause_that_the_server_asks_for_is_not_cut_short(colour):
    with FakeServer(Reply.error(503, headers={"retry-after-ms": "300"}), TEXT) as server:
        stream = colour.client(server, retry=RetryPolicy(pause=0)).chat_stream(MESSAGES)
        began = time.monotonic()
        colour.read(stream)
        assert time.monotonic() - began >= 0.3


ILLEGIBLE = ("soon", "", "-1", "nan", "inf", "1e999", "Wed, 99 Foo 2026")


@pytest.mark.parametrize("asked", ILLEGIBLE)
def test_an_illegible_pause_is_the_policys_own(colour, asked):
    with FakeServer(Reply.error(503, headers={"retry-after": asked}), TEXT) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        assert Reader(colour, stream).wait().error is None
        assert len(server.requests) == 2


LONG_ASKED = {
    "a year": ({"retry-after": "31536000"}, 31_536_000),
    "61 seconds": ({"retry-after": "61"}, 61),
    "an hour, dated": (dated("Wed, 21 Oct 2026 08:28:00 GMT"), 3600),
    "milliseconds": ({"retry-after-ms": "61000"}, 61),
    "more than fits": ({"retry-after": "1" + "0" * 300}, 1e300),
}


@pytest.mark.parametrize(("headers", "seconds"), LONG_ASKED.values(), ids=LONG_ASKED)
def test_a_pause_that_is_too_long_fails_at_once(colour, headers, seconds):
    with FakeServer(Reply.error(429, headers=headers), TEXT) as server:
        stream = colour.client(server, retry=RetryPolicy()).chat_stream(MESSAGES)
        reader = Reader(colour, stream).wait()
        assert type(reader.error) is APIStatusError
        assert reader.error.retry_after == seconds
        assert len(server.requests) == stream.result.attempts == 1


def test_max_retry_after_is_the_users_to_set(colour):
    with FakeServer(Reply.error(429, headers={"retry-after": "1"}), TEXT) as server:
        client = colour.client(server, retry=RetryPolicy(max_retry_after=0.5))
        error, _ = colour.fail(client.chat_stream(MESSAGES), APIStatusError)
        assert error.retry_after == 1
        assert len(server.requests) == 1


def test_a_pause_beyond_the_total_fails_at_once(colour):
    with FakeServer(LATER, TEXT) as server:
        client = colour.client(server, retry=RetryPolicy(), deadlines=Deadlines(total=5))
        reader = Reader(colour, client.chat_stream(MESSAGES)).wait()
        assert type(reader.error) is APIStatusError
        assert len(server.requests) == 1


def test_the_first_default_pause_is_short(colour, caplog):
    for _ in range(5):
        with FakeServer(Reply.error(503), TEXT) as server:
            caplog.clear()
            with caplog.at_level(logging.DEBUG, logger="llm_kit"):
                stream = colour.client(server, retry=RetryPolicy()).chat_stream(MESSAGES)
                reader = Reader(colour, stream)
                assert wait_until(lambda: "next in" in caplog.text)
                stream.interrupt()
                assert reader.wait().error is None
        assert float(re.search(r"next in ([\d.]+) s", caplog.text)[1]) < 2.5


# Stopped within the pause


def in_the_pause(colour, server, paused, **options):
    client = colour.client(server, retry=RetryPolicy(), **options)
    stream = client.chat_stream(MESSAGES)
    reader = Reader(colour, stream)
    assert paused.wait(PATIENCE)
    return stream, reader


def test_an_interrupt_wakes_the_pause(colour, paused):
    with FakeServer(LATER, TEXT) as server:
        interrupter = StreamInterrupter()
        client = colour.client(server, retry=RetryPolicy())
        stream = interrupter.wrap(client.chat_stream(MESSAGES))
        reader = Reader(colour, stream)
        assert paused.wait(PATIENCE)
        interrupter.interrupt("enough")
        assert reader.wait().error is None
        assert stream.result.status == "interrupted"
        assert stream.reason == "enough"
        assert len(server.requests) == stream.result.attempts == 1


def test_a_close_from_elsewhere_wakes_the_pause(colour, paused):
    with FakeServer(LATER, TEXT) as server:
        stream, reader = in_the_pause(colour, server, paused)
        if colour.is_async:
            loop = colour.runner.get_loop()
            asyncio.run_coroutine_threadsafe(stream.aclose(), loop).result(PATIENCE)
        else:
            stream.close()
        assert reader.wait().error is None
        assert stream.result.status == "interrupted"
        assert len(server.requests) == 1


def test_the_total_ends_nothing_early_in_the_pause(colour):
    """A pause that the total allows is held to its end, and the next attempt has what is left."""
    refused = Reply.error(503, headers={"retry-after-ms": "100"})
    with FakeServer(refused, TEXT) as server:
        client = colour.client(server, retry=RetryPolicy(), deadlines=Deadlines(total=4))
        stream = client.chat_stream(MESSAGES)
        colour.read(stream)
        assert stream.result.attempts == 2


@pytest.mark.parametrize("first", ["cancel", "interrupt"])
def test_a_cancel_of_the_task_wakes_the_pause(paused, first):
    async def main():
        async with AsyncLLMClient(base_url=server.base_url, model="m") as client:
            stream = client.chat_stream(MESSAGES)

            async def reading():
                async for _ in stream:
                    pass

            task = asyncio.create_task(reading())
            assert await asyncio.to_thread(paused.wait, PATIENCE)
            await asyncio.sleep(0)
            if first == "interrupt":
                stream.interrupt()
            task.cancel()
            await asyncio.wait({task}, timeout=PATIENCE)
            assert task.cancelled()
            assert stream.result.status == "interrupted"
        assert len(server.requests) == 1

    with FakeServer(LATER, TEXT) as server:
        asyncio.run(main())


def test_a_pause_costs_no_thread_and_no_connection(colour, paused):
    with FakeServer(LATER, TEXT) as server:
        stream, reader = in_the_pause(colour, server, paused)
        assert wait_until(
            lambda: not [t for t in threading.enumerate() if "background" in t.name]
        ), "a helper thread is kept through the pause"
        stream.interrupt()
        reader.wait()


def test_an_unread_stream_has_not_asked(colour):
    with FakeServer(Reply.error(503)) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        assert stream.result.attempts <= 1
        assert server.requests == []


def test_entering_retries_too(colour):
    with FakeServer(Reply.error(503), TEXT) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        colour.open(stream)
        assert stream.response.status_code == 200
        assert len(server.requests) == 2
        colour.read(stream)
        assert stream.result.content == "one two three"


def test_entering_raises_the_last_error(colour):
    with FakeServer(Reply.error(503)) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        with pytest.raises(APIStatusError):
            colour.open(stream)
        assert len(server.requests) == 3


# What is asked


def test_the_key_is_asked_for_at_each_attempt(colour):
    keys = iter(["sk-key-one", "sk-key-two", "sk-key-three"])
    with FakeServer(Reply.error(503), Reply.error(503), TEXT) as server:
        key = colour.wrap_function(lambda: next(keys))
        stream = colour.client(server, api_key=key, retry=SOON).chat_stream(MESSAGES)
        colour.read(stream)
        assert [request.headers["authorization"] for request in server.requests] == [
            "Bearer sk-key-one",
            "Bearer sk-key-two",
            "Bearer sk-key-three",
        ]


def test_a_key_that_can_not_be_had_is_not_retried(colour):
    asked = []

    def key():
        asked.append(1)
        raise RuntimeError("the vault is closed")

    with FakeServer(TEXT) as server:
        made = colour.client(server, api_key=colour.wrap_function(key), retry=SOON)
        stream = made.chat_stream(MESSAGES)
        error, _ = colour.fail(stream, RuntimeError)
        assert "vault" in str(error)
        assert len(asked) == 1
        assert server.requests == []


def no_options(received):
    """Be a server that knows no stream_options."""
    if "stream_options" in received.json:
        return Reply.error(400, "unknown field: stream_options")
    return TEXT


def test_refused_options_and_a_failing_server(colour):
    replies = [Reply.error(503), no_options, no_options]
    with FakeServer(*replies) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        colour.read(stream)
        assert ["stream_options" in request.json for request in server.requests] == [
            True,
            True,
            False,
        ]
        assert stream.result.attempts == 3
        assert stream.result.quirks == ("stream_options_refused",)


def test_refused_options_are_not_asked_for_again_in_a_retry(colour):
    replies = [no_options, Reply.error(503), no_options]
    with FakeServer(*replies) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        colour.read(stream)
        assert ["stream_options" in request.json for request in server.requests] == [
            True,
            False,
            False,
        ]
        assert stream.result.quirks == ("stream_options_refused",)


def test_refused_options_are_not_asked_for_again_after_an_earlier_failure(colour):
    replies = [Reply.error(503), no_options, Reply.error(503), no_options]
    with FakeServer(*replies) as server:
        policy = RetryPolicy(attempts=5, pause=0.01)
        stream = colour.client(server, retry=policy).chat_stream(MESSAGES)
        colour.read(stream)
        assert ["stream_options" in request.json for request in server.requests] == [
            True,
            True,
            False,
            False,
        ]


# What is told


def test_each_attempt_is_logged_without_secrets(colour, caplog):
    key = "sk-very-secret-key"

    def leaky(received):
        return Reply.error(503, f"no room for {received.headers['authorization']}")

    with (
        FakeServer(leaky, Reply((ROLE, error_event(500, type=key) + b"\n\n")), TEXT) as server,
        caplog.at_level(logging.DEBUG, logger="llm_kit"),
    ):
        client = colour.client(
            server, api_key=key, retry=SOON, headers={"x-api-key": "other-secret-value"}
        )
        colour.read(client.chat_stream(MESSAGES))
    told = [record.getMessage() for record in caplog.records if record.name == "llm_kit"]
    assert {record.levelno for record in caplog.records if record.name == "llm_kit"} == {
        logging.DEBUG
    }
    assert sum("-> 503" in line for line in told) == 1
    assert sum("-> 200" in line for line in told) == 2
    assert [line.split(";")[0] for line in told if "failed" in line] == [
        "attempt 1 failed: APIStatusError 503",
        "attempt 2 failed: StreamAPIError 500",
    ]
    assert key not in caplog.text
    assert "other-secret-value" not in caplog.text


def test_the_chain_holds_no_secret(colour):
    key = "sk-very-secret-key"

    def leaky(received):
        return Reply.error(503, f"no room for {received.headers['authorization']}")

    with FakeServer(leaky) as server:
        stream = colour.client(server, api_key=key, retry=SOON).chat_stream(MESSAGES)
        error, _ = colour.fail(stream, APIStatusError)
    seen = 0
    while error is not None:
        assert key not in str(error)
        assert key not in error.body
        assert key not in repr(error.__dict__)
        error, seen = error.__cause__, seen + 1
    assert seen == 3


def test_usage_of_a_lost_attempt_is_counted(colour):
    spent = {"prompt_tokens": 3, "completion_tokens": 0, "total_tokens": 3}
    with FakeServer(Reply((frame({"role": "assistant"}, usage=spent), Cut())), TEXT) as server:
        stream = colour.client(server, retry=SOON).chat_stream(MESSAGES)
        colour.read(stream)
    usage = stream.result.usage
    assert usage.prompt_tokens == 3 + usage.raw["attempts"][1]["prompt_tokens"]
    assert usage.raw["attempts"][0] == spent


def test_timing_counts_from_the_first_request(colour):
    refused = Reply.error(503, headers={"retry-after-ms": "100"})
    with FakeServer(refused, TEXT) as server:
        stream = colour.client(server, retry=RetryPolicy()).chat_stream(MESSAGES)
        colour.read(stream)
    assert stream.result.timing.first_text > 0.1


def test_a_silent_body_of_an_error_does_not_hold_a_retry_up(colour):
    stalled = Reply((b'{"error": ', Stall()), 503, {"content-type": "application/json"})
    with FakeServer(stalled, TEXT) as server:
        client = colour.client(server, retry=SOON, deadlines=Deadlines(first_chunk=0.2))
        stream = client.chat_stream(MESSAGES)
        began = time.monotonic()
        reader = Reader(colour, stream).wait()
        assert time.monotonic() - began < 4.5  # without the deadline it would be 5
        assert reader.error is None or isinstance(reader.error, LLMKitError)


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"attempts": True},
        {"pause": -1},
        {"pause": "1"},
        {"max_pause": float("nan")},
        {"max_retry_after": -0.1},
        {"pause": 5, "max_pause": 1},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=f"RetryPolicy.{next(reversed(wrong))}"):
        RetryPolicy(**wrong)
