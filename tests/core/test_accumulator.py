"""What chunks add up to, at every moment of a stream."""

import threading
import tracemalloc

import pytest

from llm_kit import Chunk, ResponseInfo, Timing, ToolCallDelta, Usage
from llm_kit._core.accumulator import Accumulator


def fed(*chunks, since=0.0, step=1.0):
    """An accumulator after these chunks, one each second."""
    total = Accumulator(since=since)
    for place, chunk in enumerate(chunks, 1):
        assert total.feed(chunk, since + place * step) is None
    return total


def result_of(*chunks):
    return fed(*chunks).result()


def call(index=0, ident="a", name="f", arguments="{}"):
    return (ToolCallDelta(index, ident, name, arguments),)


def names(calls):
    return [call["function"]["name"] for call in calls]


def test_nothing():
    result = Accumulator().result()
    assert (result.content, result.reasoning, result.refusal, result.role) == ("", "", "", None)
    assert (result.tool_calls, result.incomplete_tool_calls, result.choices) == ([], [], ())
    assert (result.finish_reason, result.usage, result.logprobs) == (None, None, None)
    assert (result.extra, result.status, result.chunk_count) == ({}, "streaming", 0)
    assert result.timing == Timing()


def test_a_plain_answer():
    result = result_of(
        Chunk(role="assistant", id="i", model="m", created=5),
        Chunk("Hel", id="i", model="m", created=5),
        Chunk("lo"),
        Chunk(finish_reason="stop"),
        Chunk(usage=Usage(1, 2, 3)),
    )
    assert (result.content, result.role, result.finish_reason) == ("Hello", "assistant", "stop")
    assert (result.id, result.model, result.created) == ("i", "m", 5)
    assert (result.usage, result.chunk_count) == (Usage(1, 2, 3), 5)


@pytest.mark.parametrize("finish_reason", ["stop", "error", None])
def test_text_in_the_chunk_that_finishes(finish_reason):
    result = result_of(Chunk("a"), Chunk("b", finish_reason=finish_reason))
    assert (result.content, result.finish_reason) == ("ab", finish_reason)


@pytest.mark.parametrize(
    "chunk",
    [
        Chunk("x"),
        Chunk(role="assistant"),
        Chunk(reasoning="x"),
        Chunk(refusal="x"),
        Chunk(tool_calls=call()),
        Chunk(finish_reason=""),
        Chunk(logprobs=0.5),
        Chunk(extra={"a": 1}),
    ],
)
def test_what_begins_a_choice(chunk):
    chunk.index = 3
    total = fed(chunk)
    assert total.any_began
    assert [choice.index for choice in total.result().choices] == [3]


@pytest.mark.parametrize("chunk", [Chunk(), Chunk(usage=Usage(1)), Chunk(id="i", role="")])
def test_what_begins_none(chunk):
    total = fed(chunk)
    assert not total.any_began
    assert not total.all_finished
    assert total.result().choices == ()


def test_all_kinds_of_text_are_kept_apart():
    result = result_of(
        Chunk(reasoning="r1"),
        Chunk("c1", reasoning="r2", refusal="f1"),
        Chunk("c2", refusal="f2"),
        Chunk(reasoning="r3"),
    )
    assert (result.content, result.reasoning, result.refusal) == ("c1c2", "r1r2r3", "f1f2")


def test_the_first_role_id_model_and_time_of_creation_count():
    result = result_of(
        Chunk(id="a", model="m", created=1, role="assistant"),
        Chunk(id="b", model="n", created=2, role="user"),
    )
    assert (result.id, result.model, result.created, result.role) == ("a", "m", 1, "assistant")


def test_a_late_id_is_found():
    assert result_of(Chunk("x"), Chunk(id="i", role="assistant"), Chunk("y")).id == "i"
    result = result_of(Chunk("x"), Chunk("y", id="i", model="m", created=1), Chunk("z"))
    assert (result.content, result.id, result.model, result.created) == ("xyz", "i", "m", 1)


@pytest.mark.parametrize(
    ("words", "last"), [(["stop", "length"], "length"), (["tool_calls", None, "stop"], "stop")]
)
def test_the_last_finish_reason_wins(words, last):
    assert result_of(*(Chunk(finish_reason=word) for word in words)).finish_reason == last


def test_the_last_usage_wins():
    assert result_of(
        Chunk("a", usage=Usage(1, 1, 2)), Chunk("b", usage=Usage(1, 2, 3)), Chunk("c")
    ).usage == Usage(1, 2, 3)


def test_text_behind_the_finish_reason_counts():
    assert result_of(Chunk(finish_reason="stop"), Chunk("late")).content == "late"


def test_logprobs_and_unknown_fields_are_merged():
    result = result_of(
        Chunk("a", logprobs={"content": [{"token": "a"}]}, extra={"x": "1", "type": "t"}),
        Chunk("b", logprobs={"content": [{"token": "b"}]}, extra={"x": "2", "type": "t"}),
    )
    assert result.logprobs == {"content": [{"token": "a"}, {"token": "b"}]}
    assert result.extra == {"x": "12", "type": "t"}


# Choices


def test_choices_in_any_order():
    total = fed(
        Chunk("B", index=1),
        Chunk("A", index=0),
        Chunk("b", index=1),
        Chunk(index=1, finish_reason="length"),
        Chunk("a", index=0, finish_reason="stop"),
    )
    assert [(c.index, c.content, c.finish_reason) for c in total.result().choices] == [
        (0, "Aa", "stop"),
        (1, "Bb", "length"),
    ]
    assert total.result().content == total.content() == "Aa"
    assert total.result(1).content == total.content(1) == "Bb"
    assert total.result(1).finish_reason == "length"


def test_a_choice_that_has_not_begun():
    total = fed(Chunk("x", index=2), Chunk("x", index=1))
    with pytest.raises(LookupError, match="choice 5 has not begun; begun so far: 1, 2"):
        total.result(5)
    with pytest.raises(LookupError, match="begun so far: none"):
        Accumulator().result(1)
    assert total.result(0).content == ""
    assert (total.content(), total.reasoning(), total.tool_calls()) == ("", "", [])
    assert total.partial_arguments(0) is None


@pytest.mark.parametrize(
    ("chunks", "expected", "whole"),
    [
        ([], 1, False),
        ([Chunk("x")], 1, False),
        ([Chunk(finish_reason="stop")], 1, True),
        ([Chunk(finish_reason="stop")], 2, False),
        ([Chunk(finish_reason="stop"), Chunk(index=1, finish_reason="stop")], 2, True),
        ([Chunk(finish_reason="stop"), Chunk("x", index=1)], 1, False),
    ],
)
def test_a_stream_is_whole_when_every_choice_is_finished(chunks, expected, whole):
    total = fed(*chunks)
    total.expected = expected
    assert total.is_whole is whole


# Tool calls


@pytest.mark.parametrize("word", ["tool_calls", "stop", "function_call"])
def test_calls_are_finished_when_the_stream_says_so(word):
    total = fed(Chunk(tool_calls=call()), Chunk(finish_reason=word))
    assert names(total.tool_calls()) == names(total.result().tool_calls) == ["f"]
    assert total.result().incomplete_tool_calls == []


@pytest.mark.parametrize(
    "word",
    [
        *(None, "length", "content_filter", "error", "network_error"),
        *("incomplete", "cancelled", "abort", "pause_turn", "MALFORMED_FUNCTION_CALL"),
        *("", "something new"),
    ],
)
def test_until_then_and_after_any_other_ending_they_are_not(word):
    total = fed(Chunk(tool_calls=call()), Chunk(finish_reason=word))
    assert total.tool_calls() == total.result().tool_calls == []
    assert names(total.result().incomplete_tool_calls) == ["f"]


def test_a_call_behind_the_finish_reason_counts():
    total = fed(Chunk(finish_reason="tool_calls"), Chunk(tool_calls=call()))
    assert names(total.tool_calls()) == ["f"]


def test_arguments_so_far():
    total = fed(Chunk(tool_calls=call(arguments='{"city": "Pa')))
    assert total.partial_arguments(0) == {"city": "Pa"}
    assert total.partial_arguments(1) is None
    assert total.partial_arguments(0, index=1) is None


# What surrounds the choices


def test_timing_counts_from_the_request():
    total = Accumulator(since=100.0)
    head = ResponseInfo(200, {}, None)
    total.feed_head(head, 100.5)
    total.feed(Chunk(role="assistant"), 101.0)
    total.feed(Chunk(reasoning="r"), 102.0)
    total.feed(Chunk(reasoning="r"), 102.5)
    total.feed(Chunk("x"), 103.0)
    total.feed(Chunk("y"), 104.0)
    assert total.response is head
    assert total.result().timing == Timing(0.5, 1.0, 2.0, 3.0, 4.0)


def test_reasoning_first_seen_beside_later_text():
    total = fed(Chunk("x"), Chunk("y", reasoning="r"))
    timing = total.result().timing
    assert (timing.first_text, timing.last_chunk) == (1.0, 2.0)
    assert timing.first_reasoning == 2.0


def test_the_end():
    total = fed(Chunk("x"))
    total.quirks |= {"b", "a"}
    total.attempts = 2
    assert total.flush("interrupted") is None
    result = total.result()
    assert (result.status, result.quirks, result.attempts) == ("interrupted", ("a", "b"), 2)


@pytest.mark.parametrize(
    ("reasons", "expected", "status"),
    [
        (["stop"], 1, "complete"),
        ([None], 1, "interrupted"),
        (["stop", None], 1, "interrupted"),
        (["stop"], 2, "interrupted"),
        (["stop", "length"], 2, "complete"),
        (["error"], 1, "error"),
    ],
)
def test_a_stop_is_judged_by_what_the_stream_had_said(reasons, expected, status):
    total = fed(*(Chunk("x", index, finish_reason=why) for index, why in enumerate(reasons)))
    total.expected = expected
    total.flush("interrupted")
    assert total.status == status


@pytest.mark.parametrize(("word", "failed"), [("error", "error"), ("stop", None), (None, None)])
def test_a_finish_reason_may_say_that_the_server_failed(word, failed):
    assert fed(Chunk("x", finish_reason=word)).failed_reason == failed


def test_a_result_does_not_grow():
    total = fed(Chunk("a", reasoning="r", tool_calls=call(arguments="{"), extra={"x": ["1"]}))
    before = total.result()
    total.feed(Chunk("b", reasoning="s", tool_calls=call(arguments="}"), extra={"x": ["2"]}), 2.0)
    assert (before.content, before.reasoning, before.extra) == ("a", "r", {"x": ["1"]})
    assert before.incomplete_tool_calls[0]["function"]["arguments"] == "{"
    after = total.result()
    assert (after.content, after.reasoning, after.extra) == ("ab", "rs", {"x": ["1", "2"]})


def test_reading_after_every_chunk_gives_each_prefix():
    total, text = Accumulator(), ""
    for place in range(50):
        total.feed(Chunk(f"{place} ", reasoning="r"), float(place))
        text += f"{place} "
        assert total.content() == text
        assert total.reasoning() == "r" * (place + 1)


# The message that is sent back


def test_many_may_read_while_one_feeds():
    total, done, seen = Accumulator(), threading.Event(), []

    def read():
        last = ""
        while not done.is_set():
            now = total.content()
            if not now.startswith(last):
                seen.append((last, now))
            last = now

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(20_000):
        total.feed(Chunk(f"{number},"), 0.0)
    done.set()
    for reader in readers:
        reader.join()
    assert seen == []
    assert total.content() == "".join(f"{number}," for number in range(20_000))


@pytest.mark.parametrize("kind", ["delta", "reasoning"])
def test_a_long_text_takes_the_room_of_its_characters(kind):
    total = Accumulator()
    tracemalloc.start()
    for number in range(20_000):
        total.feed(Chunk(**{kind: f"{number:5}"}), 0.0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    result = total.result()
    assert len(result.content + result.reasoning) == 100_000
    assert peak < 600_000  # in pieces 1.3 million


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        (
            [Chunk("Hi", role="assistant", finish_reason="stop")],
            {"role": "assistant", "content": "Hi"},
        ),
        ([Chunk("Hi")], {"role": "assistant", "content": "Hi"}),
        ([], {"role": "assistant", "content": ""}),
        ([Chunk(refusal="no", finish_reason="stop")], {"content": "", "refusal": "no"}),
        ([Chunk("Hi", reasoning="r", finish_reason="stop")], {"content": "Hi"}),
        ([Chunk(tool_calls=call()), Chunk(finish_reason="length")], {"content": ""}),
        ([Chunk("x", tool_calls=call(arguments='{"a'))], {"content": "x"}),
        (
            [Chunk(extra={"reasoning_details": [{"text": "r"}]}, reasoning="r")],
            {"content": "", "reasoning_details": [{"text": "r"}]},
        ),
    ],
)
def test_the_message_that_is_safe_to_send_back(chunks, message):
    assert result_of(*chunks).to_message() == {"role": "assistant"} | message


def test_reasoning_goes_back_beside_tool_calls():
    result = result_of(Chunk(reasoning="r", tool_calls=call(), finish_reason="tool_calls"))
    message = result.to_message()
    assert message["reasoning_content"] == "r"
    assert message["content"] is None
    assert message["tool_calls"] == result.tool_calls


# A new beginning


def test_an_answer_that_begins_anew_forgets_what_came_before():
    total = fed(
        Chunk(role="assistant", id="old", model="old", created=1),
        Chunk(reasoning="old", logprobs={"content": [1]}, extra={"audio": "old"}),
        Chunk("old", refusal="old", tool_calls=call(name="old")),
        Chunk("old", index=1),
        Chunk(usage=Usage(1, 2, 3)),
        Chunk(restarted=True),
    )
    result = total.result()
    assert (result.content, result.reasoning, result.refusal, result.role) == ("", "", "", None)
    assert (result.tool_calls, result.incomplete_tool_calls, result.choices) == ([], [], ())
    assert (result.logprobs, result.extra, result.usage) == (None, {}, None)
    assert (result.id, result.model, result.created) == (None, None, None)
    assert result.chunk_count == 1
    assert not total.any_began


def test_the_new_answer_is_its_own():
    total = fed(
        Chunk("old", id="old", model="old"),
        Chunk(finish_reason="length"),
        Chunk("new", id="new", model="new", restarted=True, usage=Usage(1)),
        Chunk(" answer", finish_reason="stop"),
    )
    result = total.result()
    assert (result.content, result.finish_reason) == ("new answer", "stop")
    assert (result.id, result.model, result.usage) == ("new", "new", Usage(1))
    assert result.chunk_count == 2


def test_the_times_of_the_new_answer_still_count_from_the_request():
    total = Accumulator(since=100)
    total.feed_head(ResponseInfo(200, {}), 101)
    total.feed(Chunk(reasoning="old"), 102)
    total.feed(Chunk("old"), 103)
    total.feed_head(ResponseInfo(200, {}), 110)
    total.feed(Chunk(restarted=True), 111)
    total.feed(Chunk("new"), 112)
    assert total.result().timing == Timing(10, 11, None, 12, 12)


def test_a_head_whose_answer_says_nothing_takes_no_place_in_the_times():
    total = Accumulator()
    total.feed_head(ResponseInfo(500, {}), 1)
    total.feed_head(ResponseInfo(200, {}), 2)
    total.feed(Chunk("text"), 3)
    total.feed_head(ResponseInfo(503, {}), 4)
    assert total.result().timing == Timing(2, 3, None, 3, 3)
    assert total.response.status_code == 503


def test_an_answer_that_goes_on_is_open_again():
    total = fed(Chunk("a", finish_reason="error"), Chunk("b", index=1, finish_reason="stop"))
    total.reopen()
    assert (total.all_finished, total.failed_reason, total.content(1)) == (False, None, "b")


def test_what_is_not_the_answers_stays():
    total = fed(Chunk("old"))
    total.attempts, total.expected, total.quirks = 2, 3, {"odd"}
    total.feed_head(ResponseInfo(200, {}), 1)
    total.feed(Chunk(restarted=True), 2)
    assert (total.attempts, total.expected, total.quirks) == (2, 3, {"odd"})
    assert total.response == ResponseInfo(200, {})


def test_any_tool_call():
    assert not fed(Chunk("a"), Chunk("b", index=1)).any_tool_call
    assert fed(Chunk("a"), Chunk(tool_calls=call(), index=1)).any_tool_call


def test_the_oddities_of_every_choices_tool_calls_are_named():
    total = fed(
        Chunk(tool_calls=call(name="")),
        Chunk(tool_calls=call(ident="b") + call(ident="c"), index=1),
        Chunk(index=1, finish_reason="tool_calls"),
    )
    total.quirks.add("other")
    assert total.result().quirks == ("other", "tool_index_reused")
    total.feed(Chunk(finish_reason="length"), 9.0)
    assert total.result(1).quirks == ("other", "tool_index_reused", "tool_name_missing")


def test_the_oddities_of_a_stage_are_its_streams_and_its_own():
    stage, stream = fed(Chunk(tool_calls=call() + call(ident="b"))), Accumulator()
    stage.origin, stage.quirks, stream.quirks = stream, {"nobody's"}, {"the stream's"}
    assert stage.result().quirks == ("the stream's", "tool_index_reused")
    assert stream.result().quirks == ("the stream's",)


def test_a_new_beginning_has_no_part_in_the_oddities_of_the_old_calls():
    total = fed(Chunk(tool_calls=call() + call(ident="b")), Chunk("x", restarted=True))
    assert total.result().quirks == ()
