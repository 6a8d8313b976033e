"""Stages: chunks pass them one by one when the loop takes them, and all hear of the end."""

import pytest

from llm_kit import Chunk
from llm_kit._core.accumulator import Accumulator
from llm_kit._core.pipeline import Change, Pipeline


class Seen:
    """Lets everything pass, and remembers it."""

    def __init__(self):
        self.texts, self.times, self.ends = [], [], []

    def feed(self, chunk, now):
        self.texts.append(chunk.delta)
        self.times.append(now)

    def flush(self, status):
        self.ends.append(status)


class Pairs(Seen):
    """Gives two chunks as one, the last odd one at the end."""

    def __init__(self):
        super().__init__()
        self.held = ""

    def feed(self, chunk, now):
        super().feed(chunk, now)
        self.held += chunk.delta
        if len(self.held) < 2:
            return []
        held, self.held = self.held, ""
        return [Chunk(held)]

    def flush(self, status):
        super().flush(status)
        return [Chunk(self.held)] if self.held else []


class Twice(Seen):
    def feed(self, chunk, now):
        super().feed(chunk, now)
        return [chunk, chunk]


class Upper(Seen, Change):
    """Changes what the stream gives, and holds an x back until the end."""

    def feed(self, chunk, now):
        super().feed(chunk, now)
        return None if chunk.delta.isupper() else [Chunk(chunk.delta.rstrip("x").upper())]

    def flush(self, status):
        super().flush(status)
        return [Chunk("x")] if "x" in self.texts else None


class Failing(Seen):
    def __init__(self, error):
        super().__init__()
        self.error = error

    def flush(self, status):
        super().flush(status)
        raise self.error


def piped(*stages, arrived="abc"):
    pipeline = Pipeline(Accumulator())
    for stage in stages:
        pipeline.append(stage)
    pipeline.arrived.extend(Chunk(letter) for letter in arrived)
    return pipeline


def taken(pipeline):
    texts = []
    while (chunk := pipeline.pop()) is not None:
        texts.append(chunk.delta)
    return texts


@pytest.mark.parametrize(
    ("stages", "given"),
    [
        ([], ["a", "b", "c"]),
        ([Seen], ["a", "b", "c"]),
        ([Pairs], ["ab"]),
        ([Twice], ["a", "a", "b", "b", "c", "c"]),
        ([Twice, Pairs], ["aa", "bb", "cc"]),
        ([Pairs, Twice], ["ab", "ab"]),
        ([Twice, Seen, Twice], list("aaaabbbbcccc")),
    ],
)
def test_stages_in_a_row(stages, given):
    assert taken(piped(*(stage() for stage in stages))) == given


def test_a_stage_sees_a_chunk_when_the_loop_takes_it():
    seen = Seen()
    pipeline = piped(seen)
    pipeline.now = 7.0
    assert pipeline.pop().delta == "a"
    assert (seen.texts, seen.times) == (["a"], [7.0])
    assert pipeline.accumulator.content() == "a"


def test_a_stage_that_comes_late_sees_the_rest():
    late = Seen()
    pipeline = piped()
    pipeline.pop()
    pipeline.append(late)
    taken(pipeline)
    assert late.texts == ["b", "c"]


def test_the_accumulator_sees_what_arrives_not_what_stages_make_of_it():
    pipeline = piped(Twice())
    taken(pipeline)
    assert pipeline.accumulator.content() == "abc"


def test_the_end_reaches_every_stage_once():
    stages = [Seen(), Pairs(), Seen()]
    pipeline = piped(*stages)
    taken(pipeline)
    pipeline.flush("complete")
    assert [stage.ends for stage in stages] == [["complete"]] * 3
    assert pipeline.accumulator.status == "complete"


def test_what_was_held_back_goes_through_the_stages_behind():
    behind = Seen()
    pipeline = piped(Pairs(), behind)
    taken(pipeline)
    pipeline.flush("complete")
    assert behind.texts == ["ab", "c"]
    assert taken(pipeline) == ["c"]


def test_what_the_loop_has_not_taken_is_dropped_at_the_end():
    pipeline = piped(Twice())
    pipeline.pop()
    pipeline.flush("interrupted")
    assert taken(pipeline) == []
    assert pipeline.accumulator.content() == "a"


def test_a_stage_that_fails_at_the_end_keeps_no_other_from_it():
    first, second, last = Failing(OSError("first")), Failing(ValueError("second")), Seen()
    pipeline = piped(first, second, last)
    with pytest.raises(OSError, match="first"):
        pipeline.flush("error")
    assert last.ends == ["error"]


def test_a_change_stands_before_the_accumulator_and_all_other_stages():
    first, second, behind = Upper(), Upper(), Seen()
    pipeline = piped(behind, first, second)
    assert taken(pipeline) == ["A", "B", "C"]
    assert pipeline.accumulator.content() == "ABC"
    assert (first.texts, second.texts, behind.texts) == (list("abc"), list("ABC"), list("ABC"))


def test_a_change_that_comes_late_changes_the_rest():
    pipeline = piped()
    pipeline.pop()
    pipeline.append(Upper())
    assert taken(pipeline) == ["B", "C"]
    assert pipeline.accumulator.content() == "aBC"


@pytest.mark.parametrize("status", ["complete", "interrupted", "truncated", "timeout", "error"])
def test_what_a_change_held_back_is_added_up_before_the_end_is_told(status):
    class Told(Seen):
        def flush(self, status):
            super().flush(status)
            self.content = pipeline.accumulator.content()

    behind = Told()
    pipeline = piped(Upper(), behind, arrived="ax")
    taken(pipeline)
    pipeline.arrived.append(Chunk("never taken"))
    pipeline.flush(status)
    assert taken(pipeline) == ["x"]
    assert (behind.content, behind.ends, pipeline.accumulator.status) == ("Ax", [status], status)


def test_stages_behind_the_accumulator_hear_what_it_makes_of_the_end():
    change, behind = Upper(), Seen()
    pipeline = piped(change, behind, arrived="")
    pipeline.arrived.append(Chunk("A", finish_reason="stop"))
    pipeline.pop()
    pipeline.flush("interrupted")
    assert (change.ends, behind.ends) == (["interrupted"], ["complete"])
