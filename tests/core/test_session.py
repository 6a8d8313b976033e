"""One stream step by step: what a session asks, and how it judges the end. No network."""

import json
import logging
import traceback
from math import inf

import pytest

from llm_kit import (
    APIConnectionError,
    APIStatusError,
    Recovery,
    ResponseInfo,
    RetryPolicy,
    StreamAPIError,
    StreamInterrupted,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from llm_kit._core.accumulator import Accumulator
from llm_kit._core.budget import Budget
from llm_kit._core.pipeline import Pipeline
from llm_kit._core.request import Request
from llm_kit._core.retrial import Retrial
from llm_kit._core.session import (
    BEGIN,
    END,
    READ,
    Drain,
    Open,
    Read,
    Sleep,
    TimeUp,
    status_of,
    stream_session,
)
from llm_kit.adapters.items import ItemDecoder
from llm_kit.dialects.openai import OpenAIDialect

URL = "http://127.0.0.1:1/v1/chat/completions"
OK = ResponseInfo(200, {})
ROLE = {"choices": [{"index": 0, "delta": {"role": "assistant"}}]}
HELLO = {"choices": [{"index": 0, "delta": {"content": "Hello"}}]}
FINISH = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
FAILED = {"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}
DONE = b"data: [DONE]\n\n"
LOST = StreamTruncatedError("lost")


class Echo(OpenAIDialect):
    """Shows what it was to go on from."""

    @staticmethod
    def continued_body(body, text, url, mode, instruction):
        return {"goes_on_from": text}, ""


def opening(**body):
    return Open(Request(URL, {"x": "y"}, body, Echo))


class Script:
    """
    Answers a session in order, and takes the chunks as a loop does.

    Each answer takes a second, the loop `loop_takes` with each chunk. An exception is thrown;
    behind the last answer there is nothing but `END`.
    """

    def __init__(self, *answers, heads=(), expected=1, retrial=None):
        self.pipeline = Pipeline(Accumulator())
        self.pipeline.accumulator.expected = expected
        self.opening = opening(stream_options={"include_usage": True}) if heads else None
        self.answers, self.asked, self.chunks = [*heads, *answers], [], []
        self.rest, self.loop_takes = [], 0
        self.budget, self.retrial = Budget(), retrial

    def run(self):
        steps = stream_session(ItemDecoder, self.pipeline, self.budget, self.opening, self.retrial)
        self.budget.begin(0)
        ask = next(steps)
        while True:
            self.asked.append(ask)
            while chunk := self.pipeline.pop():
                self.chunks.append(chunk)
                self.pipeline.now += self.loop_takes
                self.budget.lend(self.loop_takes)
            answer = self.answer(ask)
            self.pipeline.now += 1
            try:
                step = steps.throw if isinstance(answer, Exception) else steps.send
                ask = step(answer)
            except StopIteration:
                return self.pipeline.accumulator

    def answer(self, ask):
        if isinstance(ask, Sleep):
            # A sleep takes no answer's second.
            self.pipeline.now = max(self.pipeline.now, ask.until) - 1
            return TimeUp()
        if isinstance(ask, Drain):
            return self.rest.pop(0) if self.rest else END
        if isinstance(ask, Read):
            self.due = self.budget.wait(self.pipeline.now) if ask.until is None else ask.until
        answer = self.answers.pop(0) if self.answers else END
        if isinstance(answer, TimeUp) and (due := self.budget.wait(self.pipeline.now)) < inf:
            self.pipeline.now = due
        return answer

    def fail(self, kind):
        with pytest.raises(kind) as caught:
            self.run()
        return caught.value


def test_a_stream_that_is_simply_read():
    script = Script(HELLO, FINISH)
    total = script.run()
    assert (total.content(), total.all_finished) == ("Hello", True)
    assert script.asked == [READ, READ, Sleep(2), Read(2 + 5), Drain(3.1)]


def test_a_stream_that_is_opened_first():
    head = ResponseInfo(200, {"a": "b"}, "req-1")
    script = Script(HELLO, FINISH, heads=[head])
    total = script.run()
    assert total.response is head
    assert script.asked == [script.opening, READ, READ, Sleep(3), Read(3 + 5), Drain(4.1)]


def test_behind_the_end_marker_the_connection_is_only_drained():
    script = Script(HELLO, FINISH, DONE, HELLO)
    assert script.run().content() == "Hello"
    assert script.asked[-2:] == [Read(2 + 5), Drain(3.1)]


def test_a_drain_has_a_size():
    script = Script(FINISH, DONE)
    script.rest = [b"x" * 40_000] * 5
    script.run()
    assert script.asked[3:] == [Drain(2.1)] * 2  # more than 64 KB: it ends


@pytest.mark.parametrize("end", [TimeUp(), StreamTruncatedError("lost")])
def test_a_drain_that_fails_is_none_of_the_streams(end):
    script = Script(FINISH, DONE)
    script.rest = [end]
    assert script.run().all_finished


def test_the_quirks_are_those_of_the_decoder():
    script = Script(b"data: : ping\n\n", FINISH)
    assert script.run().quirks == {"keepalive_as_data"}


def test_what_is_pending_at_the_end_is_read():
    text = json.dumps(FINISH).encode()
    assert Script(HELLO, b"data: " + text).run().all_finished


@pytest.mark.parametrize("status", [200, 201, 206])
def test_a_success(status):
    assert Script(FINISH, heads=[ResponseInfo(status, {})]).run().all_finished


@pytest.mark.parametrize("status", [100, 199, 300, 307, 400, 401, 404, 429, 500, 503])
def test_no_success(status):
    script = Script(b'{"err', b'or": "m"}', heads=[ResponseInfo(status, {}, "r")])
    error = script.fail(APIStatusError)
    assert (error.status_code, error.request_id, error.body) == (status, "r", '{"error": "m"}')
    assert script.pipeline.accumulator.response.status_code == status
    assert script.asked[1:] == [Read(6.0)] * 3


@pytest.mark.parametrize("end", [TimeUp(), StreamTruncatedError("lost")])
def test_of_an_errors_body_what_came_is_told(end):
    error = Script(b"half a bo", end, heads=[ResponseInfo(500, {})]).fail(APIStatusError)
    assert error.body == "half a bo"


def test_an_errors_body_is_read_to_a_limit():
    script = Script(*[b"x" * 40_000] * 5, heads=[ResponseInfo(500, {})])
    script.fail(APIStatusError)
    assert len(script.asked) == 3


def test_an_errors_body_need_not_be_text():
    assert Script(b"\xff", heads=[ResponseInfo(500, {})]).fail(APIStatusError).body == "\ufffd"


# stream_options


@pytest.mark.parametrize("status", [400, 422])
def test_a_server_that_refuses_stream_options_is_asked_again_without(status):
    refusal = [ResponseInfo(status, {}), b"unknown field: stream_options", END]
    script = Script(FINISH, heads=[*refusal, OK])
    total = script.run()
    first, second = (ask for ask in script.asked if isinstance(ask, Open))
    assert second.request.url == first.request.url
    assert second.request.headers == first.request.headers
    assert "stream_options" in first.request.body
    assert "stream_options" not in second.request.body
    assert total.attempts == 2
    assert total.quirks == {"stream_options_refused"}


def test_it_is_asked_again_once():
    refusal = [ResponseInfo(400, {}), b"stream_options!", END]
    script = Script(heads=[*refusal, *refusal])
    assert script.fail(APIStatusError).status_code == 400


@pytest.mark.parametrize("words", [b"no such model", b""])
def test_another_refusal_is_an_error(words):
    Script(heads=[ResponseInfo(400, {}), words, END, OK, FINISH]).fail(APIStatusError)


@pytest.mark.parametrize("ask", [opening(), BEGIN])
def test_what_was_not_asked_for_is_not_left_out(ask):
    script = Script(heads=[ResponseInfo(400, {}), b"stream_options", END, OK, FINISH])
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


def pending(payload):
    """Give an event that lacks but its blank line."""
    return b"data: " + json.dumps(payload).encode()


@pytest.mark.parametrize("loss", [LOST, TimeUp()])
def test_what_is_pending_at_a_loss_is_read(loss):
    script = Script(ROLE, pending(HELLO), loss)
    script.fail((StreamTruncatedError, StreamTimeoutError))
    assert script.pipeline.accumulator.content() == "Hello"
    assert script.asked[-1] == Sleep(3)  # so that the loop takes it before the verdict


def test_a_loss_behind_a_finish_reason_that_is_pending_is_none():
    assert Script(HELLO, pending(FINISH), LOST).run().all_finished


@pytest.mark.parametrize("end", [LOST, END])
def test_an_error_of_the_servers_that_is_pending_is_what_is_told(end):
    error = Script(HELLO, pending({"error": {"message": "boom"}}), end).fail(StreamAPIError)
    assert error.message == "boom"


def test_half_an_event_at_a_loss_is_none():
    assert Script(HELLO, b'data: {"choi', LOST).fail(StreamTruncatedError) is LOST


@pytest.mark.parametrize("error", [StreamProtocolError("x"), ValueError("x")])
def test_other_errors_pass(error):
    assert Script(HELLO, error).fail(type(error)) is error


def test_garbage_behind_a_whole_answer_is_no_error():
    assert Script(HELLO, FINISH, b"data: garbage\n\n").run().content() == "Hello"
    assert Script(HELLO, FINISH, b"<html>").run().content() == "Hello"
    Script(HELLO, FINISH, b"data: garbage\n\n", expected=2).fail(StreamProtocolError)


USAGE = {"choices": [], "usage": {"prompt_tokens": 1}}


def test_a_whole_answer_waits_but_shortly_for_its_end():
    """Not the whole idle deadline: some servers leave the connection open."""
    script = Script(HELLO, FINISH, USAGE, b": ping\n\n", TimeUp())
    total = script.run()
    assert (total.content(), total.usage.prompt_tokens) == ("Hello", 1)
    whole = [READ, READ, Sleep(2), Read(7), Sleep(3), Read(7), Read(7)]
    assert script.asked[: len(whole)] == whole


def test_an_answer_that_is_not_whole_is_waited_for():
    other = {"choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}
    script = Script(HELLO, FINISH, other, expected=2)
    script.run()
    assert script.asked[:6] == [READ, READ, Sleep(2), READ, Sleep(3), Read(3 + 5)]


def test_a_finish_reason_that_says_error():
    error = Script(HELLO, FAILED).fail(StreamAPIError)
    assert (error.code, error.status_code) == ("error", None)
    assert "finish_reason 'error'" in str(error)


def test_what_stands_behind_an_error_is_read_too():
    script = Script(HELLO, {"error": {"message": "boom"}})
    script.rest = [{"choices": [], "usage": {"total_tokens": 7}}, {"error": "again"}, 5]
    error = script.fail(StreamAPIError)
    assert error.message == "boom"
    assert script.asked == [READ, READ] + [Drain(2.1)] * 4
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


# Deadlines


def limited(*answers, heads=(), **deadlines):
    script = Script(*answers, heads=heads)
    names = ("connect", "first_chunk", "idle", "total")
    script.budget.restrict(**dict.fromkeys(names) | deadlines)
    return script


def test_a_wait_that_was_too_long_is_a_timeout():
    script = limited(TimeUp(), first_chunk=5)
    script.budget.wait(0)
    error = script.fail(StreamTimeoutError)
    assert (error.kind, error.__cause__, error.__context__) == ("first_chunk", None, None)


def test_a_timeout_behind_the_finish_reason_is_none():
    assert Script(HELLO, FINISH, TimeUp()).run().content() == "Hello"


def test_a_timeout_while_the_answer_is_awaited():
    script = limited(TimeUp(), heads=[TimeUp()], total=5)
    assert script.fail(StreamTimeoutError).kind == "total"


@pytest.mark.parametrize(("deadline", "until"), [("first_chunk", 1 + 3), ("total", 3)])
def test_an_errors_body_is_read_no_longer_than_the_deadlines_allow(deadline, until):
    script = limited(heads=[ResponseInfo(500, {})], **{deadline: 3})
    script.fail(APIStatusError)
    assert script.asked[1] == Read(until)


@pytest.mark.parametrize(
    ("items", "due"),
    [
        ([], 0 + 20),
        ([HELLO], 11 + 3),
        ([HELLO, FINISH], 22 + 3),
        ([b": ping\n\n"] * 4, 0 + 20),
        # What the loop does with a role is not the server's time: 19 of its 20 seconds are left.
        ([ROLE], 11 + 19),
        ([ROLE, ROLE], 22 + 18),
        ([ROLE, HELLO], 22 + 3),
    ],
)
def test_what_is_said_moves_the_deadline_and_a_sign_of_life_does_not(items, due):
    script = limited(*items, TimeUp(), first_chunk=20, idle=3)
    script.loop_takes = 10
    script.run() if FINISH in items else script.fail(StreamTimeoutError)
    assert script.due == due


# Further attempts


def retrying(*answers, recovery="raise", attempts=3, heads=(OK,), **policy):
    budget = Budget()
    retrial = Retrial(RetryPolicy(attempts, 0, 0, **policy), Recovery(recovery), budget)
    script = Script(*answers, heads=heads, retrial=retrial)
    script.budget = budget
    return script


def opens(script):
    return [ask for ask in script.asked if isinstance(ask, Open)]


def test_a_request_that_failed_is_sent_again_after_a_pause():
    gone = APIConnectionError("gone")
    script = retrying(HELLO, FINISH, heads=[gone, OK])
    total = script.run()
    assert script.asked[:3] == [script.opening, Sleep(1), script.opening]
    assert (total.content(), total.attempts) == ("Hello", 2)
    assert gone.partial.content == ""


def test_the_last_error_is_raised_and_shows_the_earlier_ones():
    errors = [APIConnectionError(word) for word in ("first", "second", "third")]
    script = retrying(heads=errors)
    last = script.fail(APIConnectionError)
    assert last is errors[2]
    assert last.__cause__ is errors[1]
    assert errors[1].__cause__ is errors[0]
    assert script.pipeline.accumulator.attempts == 3
    # Kept without their frames, which would hold the stream.
    assert errors[0].__traceback__ is None is errors[1].__traceback__


def test_the_earlier_errors_are_shown_behind_the_causes_of_the_last_one():
    first, last, cause = APIConnectionError("1"), APIConnectionError("2"), OSError("cause")
    last.__cause__ = cause
    assert retrying(heads=[first, last], attempts=2).fail(APIConnectionError) is last
    assert cause.__cause__ is first
    assert "APIConnectionError: 1" in "".join(traceback.format_exception(last))


def test_one_and_the_same_cause_makes_no_ring():
    def failure():  # as a mock does whose side_effect is an instance
        error = APIConnectionError("gone")
        error.__cause__ = cause
        return error

    cause = OSError("the same each time")
    error = retrying(heads=[failure() for _ in range(5)], attempts=5).fail(APIConnectionError)
    assert error.__cause__ is cause
    assert cause.__cause__ is None


def test_what_no_retry_helps_is_raised_at_once():
    script = retrying(b"no", heads=[ResponseInfo(401, {})])
    script.fail(APIStatusError)
    assert len(opens(script)) == 1


def test_other_errors_are_no_reason_to_ask_again():
    script = retrying(heads=[ValueError("mine"), OK])
    script.fail(ValueError)
    assert len(opens(script)) == 1


def test_each_attempt_is_decoded_anew_and_the_quirks_are_kept():
    script = retrying(b"data: : ping\n\ndata: {", LOST, OK, FINISH)
    assert script.run().quirks == {"keepalive_as_data"}


def test_the_request_that_is_sent_again_has_the_stream_options_that_it_had_first():
    refusal = [ResponseInfo(400, {}), b"stream_options!", END]
    script = retrying(FINISH, heads=[*refusal, OK, LOST, OK])
    script.run()
    assert ["stream_options" in ask.request.body for ask in opens(script)] == [True, False, False]


def test_an_answer_that_is_lost_before_it_said_anything_is_asked_for_again():
    script = retrying(ROLE, LOST, OK, HELLO, FINISH)
    assert script.run().content() == "Hello"
    assert [chunk.restarted for chunk in script.chunks] == [False, True, False, False]


@pytest.mark.parametrize(
    "item",
    [
        HELLO,
        FINISH | {"choices": [{"index": 0, "delta": {"reasoning_content": "hm"}}]},
        FAILED | {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "a"}]}}]},
    ],
    ids=["text", "reasoning", "tool call"],
)
def test_an_answer_that_is_lost_in_the_middle_is_not_asked_for_again(item):
    assert retrying(item, LOST, OK, FINISH).fail(StreamTruncatedError) is LOST


def test_an_answer_begins_anew():
    script = retrying(HELLO, LOST, OK, HELLO, FINISH, recovery="restart")
    total = script.run()
    assert total.content() == "Hello"
    assert [chunk.restarted for chunk in script.chunks] == [False, True, False, False]
    assert opens(script) == [script.opening] * 2


def test_an_answer_goes_on():
    rest = {"choices": [{"index": 0, "delta": {"content": ", world"}}]}
    script = retrying(HELLO, LOST, OK, rest, FINISH, recovery="continue")
    assert script.run().content() == "Hello, world"
    assert opens(script)[1].request.body == {"goes_on_from": "Hello"}


HALF = {"choices": [{"index": 0, "delta": {"content": "Hell"}}]}  # may become "Hello" again


@pytest.mark.parametrize("end", [END, DONE, LOST, StreamProtocolError("x")])
def test_text_that_was_held_is_let_go_when_no_more_comes(end):
    script = retrying(HELLO, LOST, OK, HALF, end, recovery="continue", attempts=2)
    script.fail((StreamTruncatedError, StreamProtocolError))
    chunks = [*script.chunks, *script.pipeline.arrived]
    assert [chunk.delta for chunk in chunks] == ["Hello", "Hell"]


def test_text_that_was_held_is_not_let_go_where_it_will_be_said_again():
    script = retrying(HELLO, LOST, OK, HALF, LOST, OK, HELLO, FINISH, recovery="continue")
    assert script.run().content() == "Hello"


def test_a_failure_in_the_second_attempt_may_still_tell_the_usage():
    script = retrying(
        HELLO, LOST, OK, HELLO, {"error": {"message": "boom", "code": 400}}, recovery="restart"
    )
    script.rest = [{"choices": [], "usage": {"total_tokens": 7}}]
    assert script.fail(StreamAPIError).message == "boom"
    assert script.pipeline.arrived.pop().usage.total_tokens == 7


def test_the_log_tells_of_attempts_without_the_errors_words(caplog):
    secret = APIStatusError("sk-secret", status_code=503)
    with caplog.at_level(logging.DEBUG, "llm_kit"):
        retrying(FINISH, heads=[secret, APIConnectionError("sk-secret"), OK]).run()
    assert [record.getMessage() for record in caplog.records] == [
        "attempt 1 failed: APIStatusError 503; next in 0.00 s",
        "attempt 2 failed: APIConnectionError; next in 0.00 s",
    ]


def test_the_last_failure_is_logged_and_noted_too(caplog):
    errors = [APIConnectionError("1"), APIConnectionError("2")]
    with caplog.at_level(logging.DEBUG, "llm_kit"):
        error = retrying(heads=errors, attempts=2).fail(APIConnectionError)
    assert [record.getMessage() for record in caplog.records] == [
        "attempt 1 failed: APIConnectionError; next in 0.00 s",
        "attempt 2 failed: APIConnectionError; 2 requests were made (RetryPolicy.attempts)",
    ]
    assert error.__notes__ == ["Not asked again: 2 requests were made (RetryPolicy.attempts)."]


def test_a_failure_that_speaks_for_itself_has_no_note(caplog):
    with caplog.at_level(logging.DEBUG, "llm_kit"):
        error = retrying(heads=[APIStatusError("m", status_code=400)]).fail(APIStatusError)
    assert [record.getMessage() for record in caplog.records] == [
        "attempt 1 failed: APIStatusError 400; no other"
    ]
    assert not hasattr(error, "__notes__")
