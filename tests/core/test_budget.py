"""The deadlines counted down, by a clock that the test moves."""

from math import inf

import pytest

from llm_kit._core.budget import Budget


def restrict(made, **deadlines):
    made.restrict(**dict.fromkeys(("connect", "first_chunk", "idle", "total")) | deadlines)


def budget(connect=None, first_chunk=None, idle=None, total=None, begun_at=100.0):
    made = Budget()
    restrict(made, connect=connect, first_chunk=first_chunk, idle=idle, total=total)
    made.begin(begun_at)
    made.attempt()
    return made


def kind_and_words(made):
    error = made.error(inf)
    return error.kind, str(error)


def test_without_deadlines_a_wait_may_last_for_ever():
    made = budget()
    assert made.wait(100) == made.connecting(100) == made.connected(100) == inf
    made.said()
    assert made.wait(1e9) == inf
    assert made.allows(1e9, 1e9)


def test_the_first_chunk_is_waited_for_from_the_request_on():
    made = budget(first_chunk=5)
    assert made.wait(100) == 105
    assert made.wait(103) == 105  # keep-alives came meanwhile
    assert kind_and_words(made)[0] == "first_chunk"


def test_after_something_was_said_silence_is_limited():
    made = budget(first_chunk=5, idle=2)
    made.wait(100)
    made.said()
    assert made.wait(104) == 106
    made.said()
    assert made.wait(200) == 202  # 96 s in the loop are none of the server's
    assert kind_and_words(made)[0] == "idle"


def test_what_the_loop_took_for_itself_is_given_back():
    made = budget(first_chunk=5, total=150)
    made.wait(100)
    made.lend(97)
    assert made.wait(200) == 202
    made.lend(60)
    assert made.wait(240) == 250  # the total is not the server's


def test_nothing_is_given_back_where_nothing_ran():
    made = budget(first_chunk=5, idle=3)
    made.lend(50)
    assert made.wait(200) == 205
    made.said()
    made.lend(50)
    assert made.wait(300) == 303


def test_the_total_does_not_stand_still():
    made = budget(first_chunk=5, idle=5, total=7)
    assert made.wait(100) == 105
    made.said()
    assert made.wait(104) == 107
    assert kind_and_words(made) == (
        "total",
        "the answer was not whole within 7 s (Deadlines.total); .partial has what came",
    )


def test_the_first_chunk_is_waited_for_over_all_attempts():
    made = budget(first_chunk=5, total=60)
    made.wait(100)
    made.attempt()
    assert made.wait(103) == 105
    assert made.allows(1.9, 103)
    assert not made.allows(2, 103)  # nobody is left to wait for it


def test_after_a_loss_in_the_middle_it_is_waited_for_anew():
    made = budget(first_chunk=5, idle=1, total=60)
    made.wait(100)
    made.said()
    made.wait(101)
    assert made.allows(20, 101)
    made.attempt()
    assert made.wait(130) == 135
    assert made.wait(158) == 135


def test_while_a_connection_is_made_that_deadline_holds_too():
    made = budget(connect=2, first_chunk=5)
    assert made.wait(100) == 105
    assert made.connecting(101) == 103
    assert kind_and_words(made)[0] == "connect"
    assert made.connected(102.5) == 105
    assert kind_and_words(made)[0] == "first_chunk"


def test_a_further_try_of_the_transports_own_gets_no_more_time():
    made = budget(connect=2, first_chunk=50)
    assert made.connecting(100) == made.connecting(101.5) == 102
    made.connected(101.8)
    assert made.connecting(103) == 105  # another connection, of a redirect for instance


def test_what_ends_first_ends_the_making_of_a_connection():
    made = budget(connect=9, first_chunk=5, total=60)
    assert made.connecting(100) == 105
    assert kind_and_words(made)[0] == "first_chunk"
    assert budget(connect=9, total=4).connecting(100) == 104


def test_a_connection_of_an_earlier_attempt_counts_no_more():
    made = budget(connect=2, first_chunk=5)
    made.connecting(100)
    made.attempt()
    assert made.wait(103) == 105
    assert kind_and_words(made)[0] == "first_chunk"


def test_of_deadlines_of_one_moment_the_total_is_named():
    made = budget(connect=5, first_chunk=5, total=5)
    made.connecting(100)
    assert kind_and_words(made)[0] == "total"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("connect", "within 0.25 s (Deadlines.connect); check base_url"),
        ("first_chunk", "said nothing within 0.25 s (Deadlines.first_chunk)"),
        ("idle", "silent for 0.25 s (Deadlines.idle) in the middle"),
        ("total", "not whole within 0.25 s (Deadlines.total)"),
    ],
)
def test_the_error_names_the_deadline(kind, words):
    made = budget(**{kind: 0.25})
    made.connecting(100) if kind == "connect" else made.wait(100)
    if kind == "idle":
        made.said()
        made.wait(100)
    error = made.error(inf)
    assert error.kind == kind
    assert words in str(error)


def test_what_came_at_the_last_moment_names_the_deadline_before_it():
    made = budget(first_chunk=5, idle=60, total=100)
    made.wait(100)
    made.said()
    made.wait(105)
    assert made.error(105).kind == "first_chunk"
    made.said()
    made.wait(106)
    assert made.error(106).kind == "idle"
    assert made.error(200).kind == "idle"  # the total ends at 200 too, but later than 166


# Setting deadlines, also of a stream that is under way


def test_of_two_deadlines_the_shorter_one_holds():
    made = budget(1, 20, 3, 40)
    restrict(made, connect=10, first_chunk=2, total=4)
    assert (made.connect, made.first_chunk, made.idle, made.total) == (1, 2, 3, 4)
    assert made.wait(100) == 102


def test_a_total_that_is_set_later_counts_from_the_beginning():
    made = budget()
    restrict(made, total=10)
    assert made.wait(105) == 110


def test_a_total_is_not_over_before_the_stream_has_begun():
    made = Budget()
    restrict(made, total=10)
    assert made.wait(1e9) == inf
    made.begin(5)
    assert made.allows(9, 5)


def test_idle_that_is_set_later_limits_the_wait_that_comes():
    made = budget()
    made.said()
    restrict(made, idle=3)
    assert made.wait(110) == 113


def test_a_limit_of_another_phase_does_not_shorten_this_one():
    made = budget(first_chunk=5)
    restrict(made, idle=1)
    assert made.wait(100) == 105


@pytest.mark.parametrize(("pause", "allowed"), [(9.9, True), (10, False), (11, False)])
def test_a_pause_must_end_before_the_total(pause, allowed):
    assert budget(total=20).allows(pause, 110) == allowed
