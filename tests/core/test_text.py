"""A text that grows by pieces and can be read while it does."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from llm_kit._core.text import Text


@given(st.lists(st.tuples(st.text(), st.booleans())))
def test_value_is_what_was_appended(steps):
    text, expected = Text(), ""
    for piece, read in steps:
        text.append(piece)
        expected += piece
        if read:
            assert text.value == expected
    assert text.value == expected
    assert text.value is text.value
    assert bool(text) == bool(steps)


def test_pieces_since_a_position():
    text = Text()
    for piece in ("a", "b", "c"):
        text.append(piece)
    assert text.value == "abc"
    assert text.since(1) == ["b", "c"]


def test_many_may_read_while_one_writes():
    text, done, seen = Text(), threading.Event(), []

    def read():
        last = ""
        while not done.is_set():
            now = text.value
            if not now.startswith(last):
                seen.append((last, now))
            last = now

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range(20_000):
        text.append(f"{number},")
    done.set()
    for reader in readers:
        reader.join()
    assert seen == []
    assert text.value == "".join(f"{number}," for number in range(20_000))
