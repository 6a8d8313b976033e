"""What is tried again: after which errors, when, how often, and what its chunks look like."""

import threading

import pytest

from llm_kit import (
    APIConnectionError,
    APIStatusError,
    Chunk,
    Recovery,
    ResponseInfo,
    RetryPolicy,
    StreamAPIError,
    StreamInterrupted,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
    ToolCallDelta,
    Usage,
)
from llm_kit._core.accumulator import Accumulator
from llm_kit._core.budget import Budget
from llm_kit._core.request import Request
from llm_kit._core.retrial import Retrial, causes, says_something
from llm_kit._core.status import status_error
from llm_kit.dialects.openai import OpenAIDialect


class Echo(OpenAIDialect):
    """Shows what it was to go on from, and leaves out what the body says."""

    @staticmethod
    def can_be_continued(body):
        return not body.get("json")

    @staticmethod
    def continued_body(body, text, url, mode, instruction):
        return {"from": text}, body.get("left_out", "")


def request(**body):
    return Request("http://h/v1", {}, body, Echo)


REQUEST = request()
LOST = StreamTruncatedError("lost")
TOOL_CALL = Chunk(tool_calls=(ToolCallDelta(0, "a", "f", "{"),))


def make(recovery="raise", total=None, **policy):
    budget = Budget()
    budget.restrict(connect=None, first_chunk=None, idle=None, total=total)
    budget.begin(0)
    return Retrial(RetryPolicy(**policy), Recovery(recovery), budget)


def received(*chunks):
    total = Accumulator()
    for chunk in chunks:
        total.feed(chunk, 0)
    return total


def is_tried_again(error, spoke=False, recovery="raise", chunks=()):
    return make(recovery).pause(REQUEST, error, spoke, received(*chunks), 0) is not None


def caused(error, *causes):
    behind = error
    for cause in causes:
        behind.__cause__ = cause
        behind = cause
    return error


def connection_error(*names):
    return caused(
        APIConnectionError("no answer"), *(type(name, (Exception,), {})() for name in names)
    )


# Which errors


@pytest.mark.parametrize(
    "error",
    [
        *(APIStatusError("m", status_code=status) for status in (408, 409, 429, 500, 502, 529)),
        connection_error("ConnectError", "gaierror"),
        connection_error(),
        LOST,
        StreamAPIError("overloaded", code=529),
        StreamAPIError("overloaded", code="server_error"),
        StreamAPIError("slow down", code="429"),
        StreamAPIError("it failed"),
        StreamAPIError("busy", type="overloaded_error"),
        connection_error("ProxyError"),
        caused(APIConnectionError("m"), type("ProxyError", (Exception,), {})("503 Unavailable")),
    ],
    ids=repr,
)
def test_tried_again_before_anything_was_said(error):
    assert is_tried_again(error)


@pytest.mark.parametrize(
    "error",
    [
        *(APIStatusError("m", status_code=status) for status in (301, 400, 401, 404, 413, 422)),
        connection_error("UnsupportedProtocol"),
        connection_error("TooManyRedirects"),
        caused(APIConnectionError("m"), type("ProxyError", (Exception,), {})("407 Who are you?")),
        StreamAPIError("m", type="invalid_request_error"),
        StreamAPIError("m", code="context_length_exceeded", type="server_error"),
        connection_error("ConnectError", "ConnectError", "SSLCertVerificationError"),
        StreamAPIError("bad request", code=400),
        StreamAPIError("bad request", code="401"),
        StreamProtocolError("a page of HTML"),
        StreamInterrupted("stop"),
        *(StreamTimeoutError("m", kind=kind) for kind in ("connect", "first_chunk", "idle")),
        StreamTimeoutError("m", kind="total"),
    ],
    ids=repr,
)
def test_not_tried_again_before_anything_was_said(error):
    assert not is_tried_again(error)
    assert not is_tried_again(error, recovery="restart")


@pytest.mark.parametrize("recovery", ["restart", "continue"])
@pytest.mark.parametrize(
    "error",
    [
        LOST,
        StreamTimeoutError("m", kind="idle"),
        StreamAPIError("m"),
        StreamAPIError("m", code=500),
    ],
    ids=repr,
)
def test_a_lost_answer_is_recovered_if_that_is_wanted(error, recovery):
    assert is_tried_again(error, True, recovery, [Chunk("Hi")])
    assert not is_tried_again(error, True, "raise", [Chunk("Hi")])


@pytest.mark.parametrize(
    "error",
    [
        StreamTimeoutError("m", kind="total"),
        StreamTimeoutError("m", kind="first_chunk"),
        StreamAPIError("m", code=400),
        StreamProtocolError("m"),
        StreamInterrupted("m"),
    ],
    ids=repr,
)
def test_no_loss_no_recovery(error):
    assert not is_tried_again(error, True, "restart", [Chunk("Hi")])


@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_a_whole_answer_has_lost_nothing(recovery):
    assert not is_tried_again(LOST, True, recovery, [Chunk("Hi", finish_reason="stop")])


def test_what_nothing_can_go_on_from_is_not_continued():
    for recovery, tried in (("continue", False), ("restart", True)):
        retrial = make(recovery)
        assert (
            retrial.pause(request(json=True), LOST, True, received(Chunk("{")), 0) is not None
        ) == tried


def test_what_nothing_can_go_on_from_begins_anew_where_it_is_only_sent_again():
    retrial, out, asked = make("continue"), [], request(json=True)
    again, relay = retrial.next_try(asked, received(Chunk(" ")), out)
    relay.append(Chunk("{"))
    assert again is asked
    assert out[0].restarted


def test_half_a_tool_call_is_not_continued_but_begun_anew():
    assert not is_tried_again(LOST, True, "continue", [Chunk("Hi"), TOOL_CALL])
    assert is_tried_again(LOST, True, "restart", [Chunk("Hi"), TOOL_CALL])


@pytest.mark.parametrize(
    ("options", "error", "spoke", "chunks", "words"),
    [
        ({"attempts": 2}, LOST, False, (), "2 requests were made (RetryPolicy.attempts)"),
        (
            {"max_retry_after": 60},
            APIStatusError("m", status_code=429, retry_after=120),
            False,
            (),
            "the server wants a pause of 120 s, longer than RetryPolicy.max_retry_after (60 s)",
        ),
        (
            {"total": 5},
            APIStatusError("m", status_code=429, retry_after=9),
            False,
            (),
            "the pause of 9 s would end behind the deadline",
        ),
        ({"recovery": "continue"}, LOST, True, (TOOL_CALL,), "half a tool call can't be continued"),
        # Plain from the failure itself:
        ({}, APIStatusError("m", status_code=400), False, (), ""),
        ({}, LOST, True, (), ""),
        ({"attempts": 1}, LOST, False, (), ""),
    ],
)
def test_it_says_why_a_failure_is_final(options, error, spoke, chunks, words):
    made = make(**options)
    total = received(*chunks)
    total.attempts = options.get("attempts", 1)
    assert made.pause(REQUEST, error, spoke, total, 0) is None
    assert made.refusal == words


def test_it_says_why_an_answer_that_begins_anew_is_not_continued():
    made = make("continue")
    assert made.pause(request(json=True), LOST, True, received(Chunk("{")), 0) is None
    assert made.refusal == "an answer that must be JSON, or a tool call, can't be continued"


def test_a_ring_of_errors_is_looked_at_once():
    one, other = APIConnectionError("one"), OSError("other")
    one.__cause__, other.__context__ = other, one
    assert list(causes(one)) == [one, other]
    assert list(causes(None)) == []
    assert is_tried_again(one)


# What counts as said


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk("x"),
        Chunk(reasoning="x"),
        Chunk(refusal="x"),
        Chunk(tool_calls=(ToolCallDelta(0, id="a"),)),
        Chunk(tool_calls=(ToolCallDelta(0, name="f"),)),
        Chunk(tool_calls=(ToolCallDelta(0), ToolCallDelta(1, arguments="{"))),
        Chunk(finish_reason="stop"),
        Chunk(finish_reason="content_filter"),
        Chunk(extra={"audio": {"data": "x"}}),
    ],
)
def test_something_is_said(chunk):
    assert says_something(chunk)


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk(),
        Chunk(role="assistant"),
        Chunk(usage=Usage(1, 2, 3)),
        Chunk(id="x", model="m"),
        Chunk(finish_reason="error"),
        Chunk(tool_calls=(ToolCallDelta(0),)),
        Chunk(extra={"annotations": [], "audio": None}),
        Chunk(extra={}),
    ],
)
def test_nothing_is_said(chunk):
    assert not says_something(chunk)


# When


def pauses(retrial, error, count, now=0.0, total=None):
    """Give the pauses before further attempts, which are counted as a session does."""
    total, given = total or Accumulator(), []
    for _ in range(count):
        given.append(retrial.pause(REQUEST, error, False, total, now))
        total.attempts += 1
    return given


def test_the_pause_is_a_random_part_of_what_doubles_up_to_a_limit(monkeypatch):
    bounds = []

    def uniform(low, high):
        bounds.append((low, high))
        return high / 2

    monkeypatch.setattr("random.uniform", uniform)
    assert pauses(make(attempts=7, pause=2, max_pause=10), LOST, 6) == [1, 2, 4, 5, 5, 5]
    assert bounds == [(0, 2), (0, 4), (0, 8), (0, 10), (0, 10), (0, 10)]


def test_pauses_are_not_the_same_for_everybody():
    assert len({make().pause(REQUEST, LOST, False, Accumulator(), 0) for _ in range(20)}) > 1


def test_a_pause_of_zero_is_none():
    assert pauses(make(pause=0, max_pause=0), LOST, 2) == [0, 0]


@pytest.mark.parametrize("attempts", [1, 2, 5])
def test_as_many_attempts_as_the_policy_says(attempts):
    given = pauses(make(attempts=attempts), LOST, attempts)
    assert None not in given[:-1]
    assert given[-1] is None


def test_recovery_takes_of_the_same_attempts():
    retrial, total = make("restart", attempts=2), received(Chunk("Hi"))
    assert retrial.pause(REQUEST, LOST, True, total, 0) is not None
    total.attempts = 2
    assert retrial.pause(REQUEST, LOST, True, total, 0) is None
    assert retrial.pause(REQUEST, LOST, False, total, 0) is None


def test_a_request_that_the_server_made_us_repeat_counts_too():
    total = Accumulator()
    total.attempts = 2  # the first one without stream_options
    assert [pause is None for pause in pauses(make(attempts=3), LOST, 2, total=total)] == [
        False,
        True,
    ]


def test_attempts_are_counted_whichever_thread_asks():
    retrial, total, given = make(attempts=3), Accumulator(), []
    for _ in range(3):
        thread = threading.Thread(
            target=lambda: given.extend(pauses(retrial, LOST, 1, total=total))
        )
        thread.start()
        thread.join()
    assert [pause is None for pause in given] == [False, False, True]


def test_millions_of_attempts_overflow_nothing():
    total = Accumulator()
    total.attempts = 10**6
    assert pauses(make(attempts=10**9, pause=0, max_pause=0), LOST, 1, total=total) == [0]


def asked_to_wait(headers, **policy):
    error = status_error(ResponseInfo(429, headers), "")
    return make(pause=0, max_pause=0, **policy).pause(REQUEST, error, False, Accumulator(), 0)


DATE = {"date": "Wed, 21 Oct 2026 07:28:00 GMT"}


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0"}, 0),
        ({"retry-after": "60"}, 60),
        ({"retry-after": "60.1"}, None),
        ({"retry-after": "31536000"}, None),
        ({"retry-after-ms": "250"}, 0.25),
        ({"retry-after-ms": "250", "retry-after": "7"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2026 07:28:09 GMT"} | DATE, 9),
        ({"retry-after": "Wed, 21 Oct 2026 07:27:00 GMT"} | DATE, 0),
        ({"retry-after": "Thu, 21 Oct 2027 07:28:00 GMT"} | DATE, None),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "-5"}, 0),
        ({}, 0),
    ],
)
def test_the_server_says_how_long(headers, pause):
    assert asked_to_wait(headers) == pause


def test_how_long_a_server_may_ask_for_is_the_policys():
    assert asked_to_wait({"retry-after": "100"}, max_retry_after=100) == 100
    assert asked_to_wait({"retry-after": "1"}, max_retry_after=0) is None


def test_a_pause_that_ends_behind_the_total_is_not_begun():
    error = APIStatusError("m", status_code=429, retry_after=5)
    assert pauses(make(total=10), error, 1, now=4.9) == [5]
    assert pauses(make(total=10), error, 1, now=5) == [None]


# How


def test_the_same_request_is_sent_again():
    out = []
    again, relay = make().next_try(REQUEST, received(), out)
    relay.append(Chunk("Hello", usage=Usage(1, 2, 3)))
    relay.flush()
    assert again is REQUEST
    assert out == [Chunk("Hello", usage=Usage(1, 2, 3))]


@pytest.mark.parametrize("recovery", ["raise", "restart"])
def test_a_new_beginning_is_told_when_something_is_said(recovery):
    out, role = [], Chunk(role="assistant")
    again, relay = make(recovery).next_try(REQUEST, received(role), out)
    relay.append(role)
    relay.flush()
    assert out == []  # until then what came before is what there is
    relay.append(Chunk("Hi"))
    relay.append(Chunk("!"))
    assert again is REQUEST
    assert out == [Chunk(restarted=True), role, Chunk("Hi"), Chunk("!")]


def test_a_text_is_continued():
    out, retrial = [], make("continue")
    again, relay = retrial.next_try(REQUEST, received(Chunk("Hello")), out)
    relay.append(Chunk(" world"))
    assert again.body == {"from": "Hello"}
    assert [chunk.delta for chunk in out] == [" world"]


def test_blanks_that_the_server_was_not_sent_are_restored():
    out, retrial = [], make("continue")
    _, relay = retrial.next_try(request(left_out=" "), received(Chunk("Hello ")), out)
    relay.append(Chunk(" world"))
    relay.flush()
    assert "".join(chunk.delta for chunk in out) == "world"


def test_each_continuation_goes_on_from_all_that_came():
    retrial, total = make("continue"), received(Chunk("Hello"))
    first, _ = retrial.next_try(REQUEST, total, [])
    total.feed(Chunk(" world"), 0)
    second, _ = retrial.next_try(REQUEST, total, [])
    assert (first.body, second.body) == ({"from": "Hello"}, {"from": "Hello world"})


def test_an_answer_that_goes_on_is_not_finished():
    total = received(Chunk("Hello"), Chunk(finish_reason="error"))
    make("continue").next_try(REQUEST, total, [])
    assert (total.all_finished, total.failed_reason, total.content()) == (False, None, "Hello")


@pytest.mark.parametrize("chunk", [Chunk(" \n"), Chunk(reasoning="hm")])
def test_without_a_text_to_go_on_from_the_answer_begins_anew(chunk):
    out, retrial = [], make("continue")
    again, relay = retrial.next_try(REQUEST, received(chunk), out)
    relay.append(Chunk("Hi"))
    assert again is REQUEST
    assert out[0].restarted


def signed(signature, source):
    detail = {"type": "reasoning.text", "signature": signature, "index": 0}
    return {"reasoning_details": [detail], "citations": [source]}


def test_what_a_continued_answer_numbers_alike_stays_apart():
    total = received(Chunk("a", extra=signed("one", "u")))
    for signature, source in (("two", "u"), ("three", "v")):
        out = []
        _, relay = make("continue").next_try(REQUEST, total, out)
        relay.append(Chunk(extra=signed(signature, source)))
        total.feed(out.pop(), 0)
    extra = total.result().extra
    assert [(each["signature"], each["index"]) for each in extra["reasoning_details"]] == [
        ("one", 0),
        ("two", 1),
        ("three", 2),
    ]
    assert extra["citations"] == ["u", "v"]


def test_what_begins_anew_is_numbered_as_it_was_sent():
    total, out = received(Chunk("a", extra=signed("one", "u"))), []
    _, relay = make("restart").next_try(REQUEST, total, out)
    relay.append(Chunk(extra=signed("two", "u")))
    assert out[-1].extra == signed("two", "u")


# What it took


def usages(recovery, before, *later):
    """Give the usage that is shown after each chunk of an attempt, behind what came before."""
    total, out = received(Chunk("Hello", usage=before)), []
    _, relay = make(recovery).next_try(REQUEST, total, out)
    shown = []
    for usage in later:
        relay.append(Chunk(" world", usage=usage))
        while out:
            total.feed(out.pop(0), 0)
        shown.append(total.usage)
    return shown


@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_usages_are_added(recovery):
    one = Usage(1, 2, 3, None, 5, {"server": 1})
    shown = usages(recovery, one, None, Usage(10, None, 30, 40, None, {"server": 2}))
    raw = {"attempts": [{"server": 1}, {"server": 2}]}
    assert shown == [one, Usage(11, 2, 33, 40, 5, raw)]


def test_a_usage_that_grows_is_not_added_to_itself():
    shown = usages("restart", Usage(1), Usage(10), Usage(20))
    assert [usage.prompt_tokens for usage in shown] == [11, 21]


def test_what_a_lost_request_took_is_often_not_known():
    assert usages("restart", None, Usage(1, 2, 3)) == [Usage(1, 2, 3)]


def test_usages_of_three_attempts_are_one_list():
    total, out = received(Chunk("a", usage=Usage(1, raw={"n": 1}))), []
    for number in (2, 3):
        _, relay = make("restart").next_try(REQUEST, total, out)
        relay.append(Chunk("a", usage=Usage(1, raw={"n": number})))
        while out:
            total.feed(out.pop(0), 0)
    assert total.usage == Usage(3, raw={"attempts": [{"n": 1}, {"n": 2}, {"n": 3}]})


def test_a_server_may_have_attempts_of_its_own():
    (usage,) = usages("restart", Usage(1, raw={"attempts": 4}), Usage(1))
    assert usage.raw == {"attempts": [{"attempts": 4}, {}]}
