"""One stream step by step: what a session asks, and how it judges the end. No network."""

import json

import pytest

from llm_kit import (
    APIConnectionError,
    APIStatusError,
    ResponseInfo,
    StreamAPIError,
    StreamInterrupted,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from llm_kit._core.accumulator import Accumulator
from llm_kit._core.pipeline import Pipeline
from llm_kit._core.session import (
    BEGIN,
    DRAIN,
    END,
    READ,
    Begin,
    Head,
    Open,
    Request,
    status_of,
    stream_session,
)
from llm_kit.adapters.items import ItemDecoder

URL = "http://127.0.0.1:1/v1/chat/completions"
OK = Head(ResponseInfo(200, {}))
HELLO = {"choices": [{"index": 0, "delta": {"content": "Hello"}}]}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
FAILED = {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}
DONE = b"data: [DONE]\n\n"


def opening(**body):
    return Open(Request(URL, {"x": "y"}, body))


class Script:
    """Answers a session: with heads, with items, and it takes the chunks as a loop does."""

    def __init__(self, *items, heads=(), expected=1):
        self.pipeline = Pipeline(Accumulator())
        self.pipeline.accumulator.expected = expected
        self.opening = opening(stream_options={"include_usage": True}) if heads else None
        self.heads, self.items, self.asked = list(heads), [*items, END], []
        self.rest = []

    def run(self):
        steps = stream_session(ItemDecoder(), self.pipeline, self.opening)
        ask = next(steps)
        while True:
            self.asked.append(ask)
            while self.pipeline.pop():
                pass
            try:
                answer = self.answer(ask)
                step = steps.throw if isinstance(answer, Exception) else steps.send
                ask = step(answer)
            except StopIteration:
                return self.pipeline.accumulator

    def answer(self, ask):
        if isinstance(ask, Open | Begin):
            return self.heads.pop(0)
        return self.items.pop(0) if ask is READ else self.rest

    def fail(self, kind):
        with pytest.raises(kind) as caught:
            self.run()
        return caught.value


def test_a_stream_that_is_simply_read():
    script = Script(HELLO, FINISH)
    total = script.run()
    assert (total.content(), total.all_finished) == ("Hello", True)
    assert script.asked == [READ, READ, READ, DRAIN]


def test_a_stream_that_is_opened_first():
    head = Head(ResponseInfo(200, {"a": "b"}, "req-1"))
    script = Script(HELLO, FINISH, heads=[head])
    total = script.run()
    assert total.response is head.info
    assert script.asked == [script.opening, READ, READ, READ, DRAIN]


def test_nothing_is_asked_behind_the_end_marker():
    script = Script(HELLO, FINISH, DONE, HELLO)
    assert script.run().content() == "Hello"
    assert script.asked[-2:] == [READ, DRAIN]


def test_the_quirks_are_those_of_the_decoder():
    script = Script(b"data: : ping\n\n", FINISH)
    assert script.run().quirks == {"keepalive_as_data"}


def test_what_is_pending_at_the_end_is_read():
    text = json.dumps(FINISH).encode()
    assert Script(HELLO, b"data: " + text).run().all_finished


@pytest.mark.parametrize("status", [200, 201, 206])
def test_a_success(status):
    assert Script(FINISH, heads=[Head(ResponseInfo(status, {}))]).run().all_finished


@pytest.mark.parametrize("status", [100, 199, 300, 307, 400, 401, 404, 429, 500, 503])
def test_no_success(status):
    script = Script(heads=[Head(ResponseInfo(status, {}, "r"), '{"error": "m"}')])
    error = script.fail(APIStatusError)
    assert (error.status_code, error.request_id) == (status, "r")
    assert script.pipeline.accumulator.response.status_code == status


# stream_options


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_stream_options_is_asked_again_without(status):
    refusal = Head(ResponseInfo(status, {}), "unknown field: stream_options")
    script = Script(FINISH, heads=[refusal, OK])
    script.run()
    first, second = script.asked[:2]
    assert second.request.url == first.request.url
    assert second.request.headers == first.request.headers
    assert "stream_options" in first.request.body
    assert "stream_options" not in second.request.body


def test_it_is_asked_again_once():
    refusal = Head(ResponseInfo(400, {}), "stream_options!")
    script = Script(heads=[refusal, refusal])
    assert script.fail(APIStatusError).status_code == 400


@pytest.mark.parametrize(
    "refusal",
    [
        Head(ResponseInfo(400, {}), "no such model"),
        Head(ResponseInfo(500, {}), "stream_options"),
    ],
)
def test_another_refusal_is_an_error(refusal):
    Script(heads=[refusal]).fail(APIStatusError)


@pytest.mark.parametrize("ask", [opening(), BEGIN])
def test_what_was_not_asked_for_is_not_left_out(ask):
    script = Script(heads=[Head(ResponseInfo(400, {}), "stream_options")])
    script.opening = ask
    script.fail(APIStatusError)


# Endings


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ([], "without a single event"),
        ([DONE], "without a single event"),
        ([{"choices": []}], "without a single event"),
        ([HELLO], "without a finish_reason for every choice"),
        ([HELLO, DONE], "without a finish_reason for every choice"),
        ([FINISH, {"choices": [{"index": 1, "delta": {"content": "x"}}]}], "every choice"),
        ([HELLO, b'data: {"choices": [{"ind'], "every choice"),
    ],
)
def test_a_stream_that_does_not_say_that_it_is_whole(items, words):
    script = Script(*items)
    assert words in str(script.fail(StreamTruncatedError))


def test_text_is_whole_when_it_is_over():
    assert Script("Hel", "lo").run().content() == "Hello"


@pytest.mark.parametrize("loss", [StreamTruncatedError("lost"), StreamTimeoutError("late")])
def test_a_loss_before_the_finish_reason(loss):
    assert Script(HELLO, loss).fail(type(loss)) is loss


@pytest.mark.parametrize("loss", [StreamTruncatedError("lost"), StreamTimeoutError("late")])
def test_a_loss_behind_the_finish_reason_is_none(loss):
    total = Script(HELLO, FINISH, loss).run()
    assert total.content() == "Hello"


def test_of_several_choices_all_must_have_come():
    loss = StreamTruncatedError("lost")
    assert Script(FINISH, loss, expected=2).fail(StreamTruncatedError) is loss


@pytest.mark.parametrize("error", [StreamProtocolError("x"), ValueError("x")])
def test_other_errors_pass(error):
    assert Script(FINISH, error).fail(type(error)) is error


def test_a_finish_reason_that_says_error():
    error = Script(HELLO, FAILED).fail(StreamAPIError)
    assert (error.code, error.status_code) == ("error", None)
    assert "finish_reason 'error'" in str(error)


def test_what_stands_behind_an_error_is_read_too():
    script = Script(HELLO, {"error": {"message": "boom"}})
    script.rest = [{"choices": [], "usage": {"total_tokens": 7}}, {"error": "again"}, 5]
    error = script.fail(StreamAPIError)
    assert error.message == "boom"
    assert script.asked == [READ, READ, DRAIN]
    assert script.pipeline.arrived.pop().usage.total_tokens == 7


def test_a_finish_reason_that_says_error_before_a_loss():
    # The loss is what ended it; the status and the finish_reason say the rest.
    assert Script(FAILED, StreamTruncatedError("lost")).fail(StreamTruncatedError)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StreamTruncatedError("x"), "truncated"),
        (StreamTimeoutError("x"), "timeout"),
        (StreamAPIError("x"), "error"),
        (StreamProtocolError("x"), "error"),
        (APIConnectionError("x"), "error"),
        (StreamInterrupted("x"), "error"),
        (ValueError("x"), "error"),
    ],
)
def test_the_status_of_an_error(error, status):
    assert status_of(error) == status


# The request


def test_the_request_as_json():
    request = Request(URL, {}, {"text": "größe\u2028", "n": 1})
    assert request.content() == '{"text":"größe\u2028","n":1}'.encode()


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", float("nan"), float("inf"), 1j])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(TypeError, match=r"can't be written as JSON: .* must be plain dicts"):
        Request(URL, {}, {"value": value}).content()


@pytest.mark.parametrize("text", ["\ud800", "ok \udcff"])
def test_half_characters_are_refused(text):
    with pytest.raises(ValueError, match="not valid Unicode") as caught:
        Request(URL, {}, {"text": text}).content()
    assert type(caught.value) is ValueError


def test_a_ring_is_refused():
    ring = []
    ring.append(ring)
    with pytest.raises(TypeError, match="can't be written as JSON"):
        Request(URL, {}, {"ring": ring}).content()


def test_what_is_too_deep_is_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TypeError, match="can't be written as JSON"):
        Request(URL, {}, {"deep": deep}).content()


def test_what_is_secret_is_not_shown():
    request = Request(URL, {"x-key": "hidden"}, {"messages": "hidden"})
    assert "hidden" not in repr(Open(request))
