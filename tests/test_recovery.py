"""What happens when an answer is lost in the middle: raise, restart or continue."""

import asyncio
import json
import logging
import pickle
import threading

import pytest
from loopback import PATIENCE, Reader

from llm_kit import (
    APIStatusError,
    AsyncLLMClient,
    Deadlines,
    LLMKitError,
    Recovery,
    RetryPolicy,
    StreamAPIError,
    StreamCollector,
    StreamInterrupter,
    StreamProcessor,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from llm_kit.policies import INSTRUCTION
from llm_kit.testing import Cut, FakeServer, Reply, Reset, Stall

MESSAGES = [{"role": "user", "content": "Hello"}]
SOON = RetryPolicy(pause=0.001)
LATER = Reply.error(503, headers={"retry-after": "30"})
ACTIONS = ["restart", "continue"]


def frame(delta=None, finish_reason=None, index=0, **more):
    choice = {"index": index, "delta": delta or {}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice], **more}).encode() + b"\n\n"


def error_event(code):
    return b"data: " + json.dumps({"error": {"message": "boom", "code": code}}).encode() + b"\n\n"


ROLE = frame({"role": "assistant", "content": ""})
DONE = b"data: [DONE]\n\n"


def lost(*texts, end=None):
    """Begin an answer with these texts and lose it: cut, unless told otherwise."""
    return Reply((ROLE, *(frame({"content": text}) for text in texts), end or Cut()))


def whole(*texts):
    contents = (frame({"content": text}) for text in texts)
    return Reply((ROLE, *contents, frame(finish_reason="stop"), DONE))


def call(arguments="", **function):
    function = {**function, "arguments": arguments}
    fields = {"id": "call_1", "type": "function"} if "name" in function else {}
    return frame({"tool_calls": [{"index": 0, **fields, "function": function}]})


def recovering(colour, server, recovery, **options):
    client = colour.client(server, retry=options.pop("retry", SOON))
    return client.chat_stream(MESSAGES, recovery=recovery, **options)


def shown(chunks):
    """What a user who follows the rule of `restarted` has on the screen."""
    text = ""
    for chunk in chunks:
        text = chunk.delta if chunk.restarted else text + chunk.delta
    return text


LOSSES = {
    "cut": (Cut(), StreamTruncatedError),
    "reset": (Reset(), StreamTruncatedError),
    "over without an ending": (DONE, StreamTruncatedError),
    "cut within an event": (b'data: {"choices": [{"delta": {"content": "th', StreamTruncatedError),
    "silence": (Stall(), StreamTimeoutError),
    "an error event 500": (error_event(500), StreamAPIError),
    "an error event 429": (error_event(429), StreamAPIError),
    "an error event without a code": (error_event(None), StreamAPIError),
    "finish_reason error": (frame(finish_reason="error") + DONE, StreamAPIError),
}
SILENCE = Deadlines(first_chunk=None, idle=0.15)


@pytest.mark.parametrize(("end", "kind"), LOSSES.values(), ids=LOSSES)
def test_a_loss_is_raised(colour, end, kind):
    with FakeServer(lost("one", " two", end=end), whole("late")) as server:
        stream = recovering(colour, server, None, deadlines=SILENCE)
        error, chunks = colour.fail(stream, kind)
        assert type(error) is kind
        assert error.partial.content == shown(chunks) == "one two"
        assert len(server.requests) == stream.result.attempts == 1


@pytest.mark.parametrize(("end", "kind"), LOSSES.values(), ids=LOSSES)
def test_a_loss_is_restarted(colour, end, kind):
    with FakeServer(lost("one", " two", end=end), whole("1", " 2", " 3")) as server:
        stream = recovering(colour, server, "restart", deadlines=SILENCE)
        chunks = colour.read(stream)
        assert [chunk.restarted for chunk in chunks].count(True) == 1
        assert shown(chunks) == stream.result.content == "1 2 3"
        assert "".join(chunk.delta for chunk in chunks) == "one two1 2 3"
        assert stream.result.status == "complete"
        assert stream.result.attempts == len(server.requests) == 2
        assert stream.result.chunk_count == len(chunks) - chunks.index(restart(chunks))
        assert server.requests[0].body == server.requests[1].body


def restart(chunks):
    return next(chunk for chunk in chunks if chunk.restarted)


@pytest.mark.parametrize(("end", "kind"), LOSSES.values(), ids=LOSSES)
def test_a_loss_is_continued(colour, end, kind):
    with FakeServer(lost("one", " two", end=end), whole(" three", " four")) as server:
        stream = recovering(colour, server, "continue", deadlines=SILENCE)
        chunks = colour.read(stream)
        assert not any(chunk.restarted for chunk in chunks)
        assert "".join(chunk.delta for chunk in chunks) == "one two three four"
        assert stream.result.content == "one two three four"
        assert stream.result.status == "complete"
        assert stream.result.finish_reason == "stop"
        assert stream.result.attempts == len(server.requests) == 2
        sent = server.requests[1].json["messages"]
        assert sent[:1] == MESSAGES
        assert sent[1] == {"role": "assistant", "content": "one two"}
        assert sent[2] == {"role": "user", "content": INSTRUCTION}


NO_LOSSES = {
    "an error event 400": (error_event(400), StreamAPIError),
    "an error event 401": (error_event("401"), StreamAPIError),
    "a garbled event": (b"data: {garbled\n\n", StreamProtocolError),
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(("end", "kind"), NO_LOSSES.values(), ids=NO_LOSSES)
def test_what_would_happen_again_is_raised(colour, end, kind, action):
    with FakeServer(lost("one", " two", end=end), whole("late")) as server:
        stream = recovering(colour, server, action)
        error, _ = colour.fail(stream, kind)
        assert error.partial.content == "one two"
        assert len(server.requests) == 1


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("kind", "reply"),
    [("total", lost("one", end=Stall())), ("first_chunk", Reply((ROLE, Stall())))],
)
def test_other_deadlines_than_idle_are_raised(colour, kind, reply, action):
    limits = Deadlines(**dict.fromkeys(["first_chunk", "idle"]) | {kind: 0.1})
    with FakeServer(reply, whole("late")) as server:
        stream = recovering(colour, server, action, deadlines=limits)
        error, _ = colour.fail(stream, StreamTimeoutError)
        assert error.kind == kind
        assert len(server.requests) == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_a_loss_behind_the_finish_reason_is_none(colour, action):
    with FakeServer(lost("one", end=frame(finish_reason="stop")), whole("late")) as server:
        stream = recovering(colour, server, action)
        colour.read(stream)
        assert (stream.result.content, stream.result.status) == ("one", "complete")
        assert len(server.requests) == 1


@pytest.mark.parametrize("action", ACTIONS)
def test_a_loss_before_anything_was_said_is_a_retry(colour, action):
    with FakeServer(lost(), Reply.error(503), whole("one")) as server:
        stream = recovering(colour, server, action)
        colour.read(stream)
        assert (stream.result.content, stream.result.attempts) == ("one", 3)
        assert len({request.body for request in server.requests}) == 1


# The old text stands until there is a new one


@pytest.mark.parametrize("action", ACTIONS)
def test_until_the_new_answer_begins_the_old_one_is_what_there_is(colour, action):
    with FakeServer(lost("one", " two"), whole("late").hang()) as server:
        interrupter = StreamInterrupter()
        stream = interrupter.wrap(recovering(colour, server, action))
        reader = Reader(colour, stream)
        server.wait_for_request(2)
        assert stream.result.content == interrupter.content == "one two"
        assert stream.result.status == "streaming"
        interrupter.interrupt()
        assert reader.wait().error is None
        assert stream.result.content == interrupter.content == shown(reader.chunks) == "one two"
        assert stream.result.status == "interrupted"
        assert server.requests[1].closed.wait(PATIENCE)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("second", "kind"),
    [
        (Reply.error(401), APIStatusError),
        (Reply.error(400), APIStatusError),
        (Reply((b"<html>",)), StreamProtocolError),
        (Reply((b": ping\n\n", Cut())), StreamTruncatedError),
    ],
    ids=["401", "400", "HTML", "cut"],
)
def test_a_new_attempt_that_fails_keeps_the_old_text(colour, second, kind, action):
    with FakeServer(lost("one", " two"), second) as server:
        stream = recovering(colour, server, action, retry=RetryPolicy(attempts=2, pause=0.001))
        error, chunks = colour.fail(stream, LLMKitError)
        assert type(error) is kind
        assert error.partial.content == stream.result.content == shown(chunks) == "one two"
        assert error.partial.attempts == len(server.requests) == 2
        chain = chain_of(error)
        assert [type(each) for each in chain if isinstance(each, LLMKitError)] == [
            kind,
            StreamTruncatedError,
        ]
        earlier = [each for each in chain if isinstance(each, StreamTruncatedError)][-1]
        assert earlier.partial.content == "one two"
        assert earlier.partial.attempts == 1


def chain_of(error):
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    return chain


@pytest.mark.parametrize("action", ACTIONS)
def test_attempts_count_recoveries_and_retries_together(colour, action):
    plan = [Reply.error(503), lost("one"), Reply.error(503), lost(" two")]
    with FakeServer(*plan, whole(" three")) as server:
        policy = RetryPolicy(attempts=4, pause=0.001)
        stream = recovering(colour, server, action, retry=policy)
        error, chunks = colour.fail(stream, StreamTruncatedError)
        assert len(server.requests) == error.partial.attempts == 4
        assert error.partial.content == ("one two" if action == "continue" else " two")
        assert shown(chunks) == error.partial.content
        again = pickle.loads(pickle.dumps(error))
        assert again.partial == error.partial


def test_two_losses_in_a_row_are_restarted(colour):
    with FakeServer(lost("a"), lost("b", end=Reset()), whole("c")) as server:
        stream = recovering(colour, server, "restart")
        chunks = colour.read(stream)
        assert [chunk.restarted for chunk in chunks].count(True) == 2
        assert shown(chunks) == stream.result.content == "c"
        assert stream.result.attempts == 3


def test_two_losses_in_a_row_are_continued(colour):
    with FakeServer(lost("one"), lost(" two"), whole(" three")) as server:
        stream = recovering(colour, server, "continue")
        chunks = colour.read(stream)
        assert shown(chunks) == stream.result.content == "one two three"
        assert [request.json["messages"][1:] for request in server.requests] == [
            [],
            [assistant("one"), {"role": "user", "content": INSTRUCTION}],
            [assistant("one two"), {"role": "user", "content": INSTRUCTION}],
        ]


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def test_a_continued_answer_that_restates_is_lost_again(colour):
    plan = [lost("The quick brown"), lost("quick brown fox"), whole("brown fox jumps")]
    with FakeServer(*plan) as server:
        stream = recovering(colour, server, "continue")
        colour.read(stream)
        assert stream.result.content == "The quick brown fox jumps"
        assert server.requests[2].json["messages"][1] == assistant("The quick brown fox")


def test_a_failed_attempt_between_a_loss_and_its_continuation(colour):
    with FakeServer(lost("one"), Reply.error(503), whole(" two")) as server:
        stream = recovering(colour, server, "continue")
        colour.read(stream)
        assert stream.result.content == "one two"
        assert server.requests[1].body == server.requests[2].body


# Continue: the seam

SEAMS = {
    "nothing restated": (["The quick", " brown"], [" fox", " jumps"], "The quick brown fox jumps"),
    "the last word": (["The quick", " brown"], ["brown fox"], "The quick brown fox"),
    "two words": (["The quick", " brown"], ["quick br", "own fox"], "The quick brown fox"),
    "in single characters": (["The quick brown"], [*"brown fox"], "The quick brown fox"),
    "all of it": (
        ["The quick", " brown"],
        ["The ", "quick ", "brown ", "fox"],
        "The quick brown fox",
    ),
    "within a word": (["The qui"], ["ck brown"], "The quick brown"),
    "a genuine repetition": (["ha ha ha "], ["ha ha ", "ha!"], "ha ha ha ha ha ha!"),
    "rows of a table": (["| 1 |\n", "| 1 |\n"], ["| 1 |\n", "| 1 |\n"], "| 1 |\n" * 4),
    "too short to tell": (["the cat and"], ["and so"], "the cat andand so"),
    "what began like an overlap": (["The quick brown"], ["bro", "wser"], "The quick brownbrowser"),
    "an overlap that ends it": (["The quick brown fox"], ["brown fox"], "The quick brown fox"),
    "nothing more": (["The quick brown fox"], [], "The quick brown fox"),
    "other alphabets": (["Größe: 5 Äpfel"], ["Äpfel und 🍐"], "Größe: 5 Äpfel und 🍐"),
}


@pytest.mark.parametrize(("before", "after", "expected"), SEAMS.values(), ids=SEAMS)
def test_the_seam(colour, before, after, expected):
    with FakeServer(lost(*before), whole(*after)) as server:
        stream = recovering(colour, server, "continue")
        chunks = colour.read(stream)
        assert stream.result.content == shown(chunks) == expected
        assert stream.result.status == "complete"


def test_text_that_is_held_at_the_seam_is_not_lost_with_its_stream(colour):
    with FakeServer(lost("The quick brown"), lost("quick bro", end=Stall())) as server:
        limits = Deadlines(first_chunk=None, idle=0.15)
        policy = RetryPolicy(attempts=2, pause=0.001)
        stream = recovering(colour, server, "continue", deadlines=limits, retry=policy)
        error, chunks = colour.fail(stream, StreamTimeoutError)
        # In doubt it stays: doubled words can be seen, missing ones can't.
        assert error.partial.content == shown(chunks) == "The quick brownquick bro"


# Continue: how it is sent back

MODES = {
    "auto": ({}, {}, True),
    "instruct": ({}, {}, True),
    "plain": ({}, {}, False),
    "prefix": ({"prefix": True}, {}, False),
    "partial": ({"partial": True}, {}, False),
    "continue_final_message": (
        {},
        {"continue_final_message": True, "add_generation_prompt": False},
        False,
    ),
}


@pytest.mark.parametrize(("mode", "what"), MODES.items(), ids=MODES)
def test_the_mode_of_continue(colour, mode, what):
    in_message, in_body, instructed = what
    with FakeServer(lost("one "), whole("two")) as server:
        recovery = Recovery("continue", mode=mode, instruction="Go on.")
        stream = recovering(colour, server, recovery, temperature=0.5, tools=[{"type": "function"}])
        chunks = colour.read(stream)
        first, second = (request.json for request in server.requests)
    # The blank at the end is left out of a prefill, and given back at the seam.
    sent = assistant("one " if instructed else "one", **in_message)
    wanted = [*MESSAGES, sent] + [{"role": "user", "content": "Go on."}] * instructed
    assert second == {**first, **in_body, "messages": wanted}
    assert shown(chunks) == stream.result.content == "one two"


@pytest.mark.parametrize("after", [" two", "two"], ids=["with its blank", "without"])
def test_the_blank_before_a_prefill_is_not_doubled(colour, after):
    with FakeServer(lost("one", " "), whole(after)) as server:
        stream = recovering(colour, server, Recovery("continue", mode="plain"))
        colour.read(stream)
        assert stream.result.content == "one two"


def test_a_text_of_nothing_but_blanks_is_restarted(colour):
    with FakeServer(lost("\n", "  "), whole("one")) as server:
        stream = recovering(colour, server, "continue")
        chunks = colour.read(stream)
        assert stream.result.content == shown(chunks) == "one"
        assert server.requests[0].body == server.requests[1].body


def test_a_loss_within_the_reasoning_is_restarted(colour):
    first = Reply((ROLE, frame({"reasoning_content": "Hm, "}), Cut()))
    second = Reply(
        (ROLE, frame({"reasoning_content": "Aha."}), frame({"content": "42"}, "stop"), DONE)
    )
    with FakeServer(first, second) as server:
        stream = recovering(colour, server, "continue")
        chunks = colour.read(stream)
        assert restart(chunks)
        assert (stream.result.reasoning, stream.result.content) == ("Aha.", "42")
        assert server.requests[0].body == server.requests[1].body


# Tool calls


@pytest.mark.parametrize("text", ["", "Let me see. "], ids=["", "behind text"])
def test_half_a_tool_call_is_never_continued(colour, text):
    begun = [frame({"content": text})] if text else []
    half = Reply((ROLE, *begun, call(name="f"), call('{"x"'), Cut()))
    with FakeServer(half, whole("late")) as server:
        stream = recovering(colour, server, "continue")
        error, chunks = colour.fail(stream, StreamTruncatedError)
        assert len(server.requests) == 1
        assert error.partial.incomplete_tool_calls[0]["function"]["arguments"] == '{"x"'
        assert error.partial.tool_calls == []
        assert shown(chunks) == error.partial.content == text


def test_half_a_tool_call_is_restarted(colour):
    called = []
    half = Reply((ROLE, call(name="f"), call('{"x"'), Cut()))
    good = Reply.tool_calls([{"name": "g", "arguments": {"y": 2}}], fragment=3)
    with FakeServer(half, good) as server:
        stream = StreamCollector.collect(
            recovering(colour, server, "restart"), on_tool_call=called.append
        )
        colour.read(stream)
        (made,) = stream.result.tool_calls
        assert (made["function"]["name"], made["function"]["arguments"]) == ("g", '{"y":2}')
        assert called == [made]
        assert stream.result.incomplete_tool_calls == []


def test_a_tool_call_behind_a_continued_text(colour):
    after = [frame({"content": "two. "}), call(name="f"), call("{}")]
    finish = frame(finish_reason="tool_calls")
    with FakeServer(lost("One, "), Reply((ROLE, *after, finish, DONE))) as server:
        stream = recovering(colour, server, "continue")
        colour.read(stream)
        assert stream.result.content == "One, two. "
        assert [made["function"]["name"] for made in stream.result.tool_calls] == ["f"]


# Several choices


def test_of_several_choices_all_are_restarted(colour):
    first = Reply(
        (
            frame({"content": "a"}, index=0),
            frame({"content": "b"}, index=1),
            frame(finish_reason="stop", index=0),
            Cut(),
        )
    )
    with FakeServer(first, Reply.text("x y")) as server:
        stream = recovering(colour, server, "restart", n=2)
        chunks = colour.read(stream)
        assert [choice.content for choice in stream.result.choices] == ["x y", "x y"]
        assert {choice.finish_reason for choice in stream.result.choices} == {"stop"}
        assert restart(chunks)
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"recovery": "continue", "n": 2}, "restart"),
        ({"recovery": "continue", "retry": RetryPolicy(attempts=1)}, "attempts=2"),
        ({"recovery": "restart", "retry": RetryPolicy(attempts=1)}, "attempts=2"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(colour, options, words):
    client = colour.client("http://unused.invalid/v1", retry=SOON)
    with pytest.raises(ValueError, match=words):
        client.chat_stream(MESSAGES, **options)


@pytest.mark.parametrize("recovery", ["again", Recovery, 5, ("restart",)])
def test_what_is_no_recovery_is_refused_at_once(colour, recovery):
    client = colour.client("http://unused.invalid/v1", retry=SOON)
    with pytest.raises((TypeError, ValueError), match=r"recovery|Recovery"):
        client.chat_stream(MESSAGES, recovery=recovery)


# Whoever listens starts over too


def listeners(stream, wrap=lambda function: function):
    said = {"delta": [], "chunk": [], "done": []}
    collected = StreamCollector.collect(
        stream,
        on_delta=wrap(said["delta"].append),
        on_chunk=wrap(said["chunk"].append),
        on_done=wrap(said["done"].append),
    )
    return collected, said


@pytest.mark.parametrize("action", ACTIONS)
def test_callbacks(colour, action):
    with FakeServer(lost("one", " two"), whole(" three")) as server:
        stream, said = listeners(recovering(colour, server, action), colour.wrap_function)
        chunks = colour.read(stream)
    assert said["delta"] == ["one", " two", " three"]
    assert said["chunk"] == chunks
    (result,) = said["done"]
    assert result == stream.result
    assert result.content == (" three" if action == "restart" else "one two three")


def test_callbacks_of_a_recovery_that_fails(colour):
    with FakeServer(lost("one"), Reply.error(401)) as server:
        stream, said = listeners(recovering(colour, server, "restart"), colour.wrap_function)
        colour.fail(stream, APIStatusError)
    assert said["delta"] == ["one"]
    assert [result.status for result in said["done"]] == ["error"]
    assert said["done"][0].content == "one"


@pytest.mark.parametrize("action", ACTIONS)
def test_to_string(colour, action):
    with FakeServer(lost("one", " two"), whole(" three")) as server:
        text = colour.run(StreamCollector.to_string(recovering(colour, server, action)))
    assert text == (" three" if action == "restart" else "one two three")


@pytest.mark.parametrize("action", ACTIONS)
def test_a_processor_around_it_and_one_by_hand(colour, action):
    by_hand, around, interrupter = StreamProcessor(), StreamProcessor(), StreamInterrupter()
    with FakeServer(lost("one", " two"), whole(" three")) as server:
        stream = interrupter.wrap(around.wrap(recovering(colour, server, action)))
        for chunk in colour.each(stream):
            by_hand.process(chunk)
    expected = " three" if action == "restart" else "one two three"
    assert by_hand.content == around.content == interrupter.content == expected
    assert by_hand.get_result().status == around.get_result().status == "complete"
    assert by_hand.chunk_count == around.chunk_count == stream.result.chunk_count
    assert around.get_result().attempts == 2


def test_a_processor_forgets_half_a_tool_call(colour):
    by_hand = StreamProcessor()
    half = Reply((ROLE, call(name="f"), call('{"x": 1'), Cut()))
    with FakeServer(half, whole("one")) as server:
        for chunk in colour.each(recovering(colour, server, "restart")):
            by_hand.process(chunk)
    assert by_hand.get_result().incomplete_tool_calls == []
    assert by_hand.partial_arguments() is None
    assert by_hand.content == "one"


# Stopped in between


@pytest.mark.parametrize("action", ACTIONS)
def test_an_interrupt_in_the_pause_keeps_the_text(colour, action, caplog):
    paused = threading.Event()

    class Watching(logging.Handler):
        def emit(self, record):
            if "attempt 2 failed" in record.getMessage():
                paused.set()

    log, handler = logging.getLogger("llm_kit"), Watching()
    with (
        caplog.at_level(logging.DEBUG, logger="llm_kit"),
        FakeServer(lost("one", " two"), LATER, whole("late")) as server,
    ):
        log.addHandler(handler)
        try:
            interrupter = StreamInterrupter()
            stream = interrupter.wrap(recovering(colour, server, action))
            reader = Reader(colour, stream)
            assert paused.wait(PATIENCE)
            interrupter.interrupt()
            assert reader.wait().error is None
        finally:
            log.removeHandler(handler)
        assert stream.result.content == interrupter.content == "one two"
        assert stream.result.status == "interrupted"
        assert len(server.requests) == 2


@pytest.mark.parametrize("action", ACTIONS)
def test_a_cancel_in_the_second_attempt_keeps_the_text(action):
    async def main():
        async with AsyncLLMClient(base_url=server.base_url, model="m", retry=SOON) as client:
            stream = client.chat_stream(MESSAGES, recovery=action)

            async def reading():
                async for _ in stream:
                    pass

            task = asyncio.create_task(reading())
            await asyncio.to_thread(server.wait_for_request, 2)
            task.cancel()
            await asyncio.wait({task}, timeout=PATIENCE)
            assert task.cancelled()
            assert (stream.result.status, stream.result.content) == ("interrupted", "one two")

    with FakeServer(lost("one", " two"), whole("late").hang()) as server:
        asyncio.run(main())


def test_break_within_the_second_answer_closes_it(colour):
    with FakeServer(lost("one"), lost(" two", end=Stall())) as server:
        stream = recovering(colour, server, "continue")
        for chunk in colour.each(stream):
            if chunk.delta == " two":
                break
        colour.close(stream)
        assert stream.result.content == "one two"
        assert server.requests[1].closed.wait(PATIENCE)


def test_the_total_counts_over_all_attempts(colour):
    with FakeServer(lost("one"), lost(" two", end=Stall())) as server:
        limits = Deadlines(first_chunk=None, idle=None, total=0.3)
        stream = recovering(colour, server, "continue", deadlines=limits)
        error, _ = colour.fail(stream, StreamTimeoutError)
        assert error.kind == "total"
        assert error.partial.content == "one two"
        assert len(server.requests) == 2


def test_the_first_chunk_deadline_holds_in_the_second_attempt(colour):
    with FakeServer(lost("one"), whole("late").hang()) as server:
        limits = Deadlines(first_chunk=0.15, idle=None)
        stream = recovering(colour, server, "continue", deadlines=limits)
        error, _ = colour.fail(stream, StreamTimeoutError)
        assert error.kind == "first_chunk"
        assert error.partial.content == "one"
        assert isinstance(chain_of(error)[-1], LLMKitError) or len(chain_of(error)) > 1


# Usage

SPENT = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
THEN = {
    "prompt_tokens": 9,
    "completion_tokens": 4,
    "total_tokens": 13,
    "completion_tokens_details": {"reasoning_tokens": 1},
}


@pytest.mark.parametrize("action", ACTIONS)
def test_usage_is_summed(colour, action):
    first = Reply((ROLE, frame({"content": "one"}, usage=SPENT), Cut()))
    second = Reply((frame({"content": " two"}, "stop", usage=THEN), DONE))
    with FakeServer(first, second) as server:
        stream = recovering(colour, server, action)
        chunks = colour.read(stream)
    usage = stream.result.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (14, 6, 20)
    assert usage.reasoning_tokens == 1
    assert usage.raw == {"attempts": [SPENT, THEN]}
    by_hand = StreamProcessor()
    for chunk in chunks:
        by_hand.process(chunk)
    assert by_hand.usage == usage


def test_usage_of_three_attempts(colour):
    first = Reply((ROLE, frame({"content": "one"}, usage=SPENT), Cut()))
    second = Reply((ROLE, frame({"content": " two"}, usage=SPENT), Cut()))
    third = Reply((frame({"content": " three"}, "stop", usage=THEN), DONE))
    with FakeServer(first, second, third) as server:
        stream = recovering(colour, server, "continue")
        colour.read(stream)
    assert stream.result.usage.prompt_tokens == 19
    assert stream.result.usage.raw == {"attempts": [SPENT, SPENT, THEN]}


def test_usage_that_grows_in_each_chunk_is_counted_once(colour):
    growing = [SPENT | {"completion_tokens": count} for count in (1, 2)]
    first = Reply((*(frame({"content": "x"}, usage=usage) for usage in growing), Cut()))
    second = Reply(
        (
            *(frame({"content": "y"}, usage=usage) for usage in growing),
            frame(finish_reason="stop"),
            DONE,
        )
    )
    with FakeServer(first, second) as server:
        stream = recovering(colour, server, "continue")
        colour.read(stream)
    assert stream.result.usage.completion_tokens == 4
    assert stream.result.usage.raw == {"attempts": [growing[1], growing[1]]}


def test_usage_behind_a_recovery_that_fails_is_what_was_spent(colour):
    first = Reply((ROLE, frame({"content": "one"}, usage=SPENT), Cut()))
    with FakeServer(first, Reply.error(401)) as server:
        error, _ = colour.fail(recovering(colour, server, "restart"), APIStatusError)
    assert error.partial.usage.total_tokens == 7


@pytest.mark.parametrize("action", ACTIONS)
def test_usage_of_an_attempt_that_told_none_is_not_invented(colour, action):
    second = Reply((frame({"content": " two"}, "stop", usage=THEN), DONE))
    with FakeServer(lost("one"), second) as server:
        stream = recovering(colour, server, action)
        colour.read(stream)
    assert stream.result.usage.prompt_tokens == 9


# Where recovery stands beside the rest


def test_ids_and_the_model_are_those_of_the_new_answer(colour):
    first = Reply((frame({"content": "one"}, id="first", model="m1"), Cut()))
    second = Reply((frame({"content": "two"}, "stop", id="second", model="m2"), DONE))
    with FakeServer(first, second) as server:
        stream = recovering(colour, server, "restart")
        colour.read(stream)
    assert (stream.result.id, stream.result.model) == ("second", "m2")


def test_the_sum_of_the_parts_is_what_a_continued_tool_user_sees(colour):
    """The chunks of a continued answer add up by hand to what `result` shows."""
    by_hand = StreamProcessor()
    with FakeServer(lost("The quick", " brown"), whole("brown ", "fox")) as server:
        stream = recovering(colour, server, "continue")
        for chunk in colour.each(stream):
            by_hand.process(chunk)
    ours, theirs = stream.result, by_hand.get_result()
    assert (ours.content, ours.finish_reason) == (theirs.content, theirs.finish_reason)
    assert ours.role == theirs.role == "assistant"
    assert ours.chunk_count == theirs.chunk_count


@pytest.mark.parametrize("action", ACTIONS)
def test_a_refusal_of_options_in_the_second_attempt(colour, action):
    def picky(received):
        if "stream_options" in received.json:
            return Reply.error(400, "unknown field: stream_options")
        return whole(" two")

    with FakeServer(lost("one"), picky) as server:
        stream = recovering(colour, server, action)
        colour.read(stream)
        assert stream.result.content == (" two" if action == "restart" else "one two")
        assert "stream_options" not in server.requests[-1].json


def test_a_lost_answer_to_a_prefill_of_the_users_goes_on_from_both(colour):
    chat = [*MESSAGES, assistant("Sure: ")]
    with FakeServer(lost("one"), whole(" two")) as server:
        client = colour.client(server, retry=SOON)
        stream = client.chat_stream(chat, recovery=Recovery("continue", mode="plain"))
        colour.read(stream)
        assert server.requests[1].json["messages"] == [*MESSAGES, assistant("Sure: one")]
    assert stream.result.content == "one two"
    assert chat == [*MESSAGES, assistant("Sure: ")]  # the user's own list stays as it is


def test_signatures_and_sources_of_a_continued_answer_are_not_fused(colour):
    def thought(signature):
        detail = {"type": "reasoning.text", "text": "Hm", "signature": signature, "index": 0}
        return frame({"reasoning_details": [detail]}, citations=["u1", "u2"])

    first = Reply((thought("one"), frame({"content": "one"}), Cut()))
    second = Reply((thought("two"), frame({"content": " two"}, "stop"), DONE))
    with FakeServer(first, second) as server:
        stream = recovering(colour, server, "continue")
        colour.read(stream)
    details = stream.result.to_message()["reasoning_details"]
    assert [(each["text"], each["signature"]) for each in details] == [("Hm", "one"), ("Hm", "two")]
    assert stream.result.extra["citations"] == ["u1", "u2"]
