"""The seam of a continued answer: what is restated goes, what is repeated stays."""

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_kit._core.seam import Seam
from llm_kit.types import Chunk, ToolCallDelta, Usage


def joined(before, pieces, *, restored=""):
    out = []
    seam = Seam(before, out, restored=restored)
    for piece in pieces:
        seam.append(Chunk(piece))
    seam.flush()
    return "".join(chunk.delta for chunk in out)


def cuts(text, seed=0):
    """One piece, character by character, and at random places."""
    yield [text]
    yield list(text)
    chance = random.Random(seed)
    for size in (3, 7):
        pieces, at = [], 0
        while at < len(text):
            step = chance.randint(1, size)
            pieces.append(text[at : at + step])
            at += step
        yield pieces


def oracle(before, text):
    """Give the longest overlap by trying all of them."""
    return max(k for k in range(len(text) + 1) if before.endswith(text[:k]))


TRIMMED = {
    "the last words": ("The quick brown fox", "brown fox jumps.", " jumps."),
    "the last sentence": ("One. Two is here. ", "Two is here. Three.", "Three."),
    "all of it": ("All of it, ", "All of it, and more.", "and more."),
    "all of it and nothing more": ("All of it.", "All of it.", ""),
    "a word that was cut": ("It is called Strea", "Streaming, you know.", "ming, you know."),
    "from the middle of a word": ("unbeliev", "lievable", "able"),
    "exactly four": ("abcd efgh", "efghi", "i"),
    "the longest of two": ("Sam and Tom and ", "Tom and Sam and", "Sam and"),
    "the longest overlap, not the first place": ("so so far, so far", "so far so good", " so good"),
    "an end that begins like itself": ("aabaaabaaac", "aabaaac and on", " and on"),
    "one letter too many": ("cccccb", "ccccb and on", " and on"),
    "the end of a line": ("It is a line.\n", "a line.\nAnother", "Another"),
    "a list item": ("1. Apples\n2. Pears\n", "2. Pears\n3. Plums", "3. Plums"),
    "a heading": ("Text.\n\n## Step 2\n\n", "## Step 2\n\nDo it.", "Do it."),
    "a line of code": ("def f(x):\n    retu", "    return x\n", "rn x\n"),
    "a cut line without its indentation": ("if x:\n    retur", "return x", "n x"),
    "a whole indented line": ("if x:\n    go(x)\n", "    go(x)\n    stop()", "    stop()"),
    "two lines of code": ("def f():\n    a = 1\n    b", "    a = 1\n    b = 2", " = 2"),
    "an open fence": ("Look:\n```python\n", "```python\nx = 1", "x = 1"),
    "counting": ("1, 2, 3, 4, 5, ", "4, 5, 6, 7", "6, 7"),
    "a row of a table": ("| a | b |\n|---|---|\n| x | 1 |\n", "| x | 1 |\n| y | 2 |", "| y | 2 |"),
    "an object": ('[{"id": 1, "name": "A"}, ', '{"id": 1, "name": "A"}, {"id": 2', '{"id": 2'),
    "no words between the signs": ("今天天气很好，我们去", "很好，我们去公园。", "公园。"),
    "a word and its blank": ("over the lazy ", "lazy dog", "dog"),
}
STAYS = {
    "nothing in common": ("The quick brown fox", " jumps over", " jumps over"),
    "three characters": ("and the", "theory", "theory"),
    "three characters, all of them": ("abc", "abcabc", "abcabc"),
    "too little text to tell": ("The fox", "fox", "fox"),
    "the beginning of a long overlap": ("The quick brown fox", "The quick", "The quick"),
    "almost an overlap": ("The quick brown fox", "quick brown fix", "quick brown fix"),
    "other case": ("The END. ", "the end. ", "the end. "),
    "indentation": ("if x:\n        ", "    y = 1", "    y = 1"),
    "a ruler": ("Title\n-----", "-----\nText", "-----\nText"),
    "the rule of a table": ("| a | b |\n|---|---|", "|---|---|\n", "|---|---|\n"),
    "closing braces": ("{\n        }\n", "    }\n}\n", "    }\n}\n"),
    "closing brackets": ("f(g(h(1))))", "))))", "))))"),
    "closing ends": ("do\n    end\n", "  end\nend\n", "  end\nend\n"),
    "closing tags": ("<b>\n  </div>\n", "</div>\n</body>", "</div>\n</body>"),
    "closing tags, all indented": ("\n    </div>\n", "  </div>\n</div>", "  </div>\n</div>"),
    "a value of a table": ("| x | 12.5 |", " 12.5 | 13", " 12.5 | 13"),
    "a value of a list": ("[0.25, ", "0.25, 0.5]", "0.25, 0.5]"),
    "laughing": ("He said: haha", "haha!", "haha!"),
    "words that repeat": ("ha ha ha ", "ha ha ha!", "ha ha ha!"),
    "numbers that repeat": ("1, 1, 1, ", "1, 1, 2", "1, 1, 2"),
    "a period that ends half-way": ("ab.ab.a", "ab.ab.a!", "ab.ab.a!"),
    "said twice already": ("knock knock ", "knock Who is there", "knock Who is there"),
    "rows said twice": ("|no|\n|no|\n|no|\n", "|no|\n|yes|", "|no|\n|yes|"),
    "a refrain": (
        "Let it be.\nLet it be.\nWhisper words.\nLet it be.\n",
        "Let it be.\nWords",
        "Let it be.\nWords",
    ),
    "a rhythm": ("so, la, so, la, so, ", "so, la, so, no", "so, la, so, no"),
    "blanks that differ": ("# Title\n\n", "# Title\nText", "# Title\nText"),
    "nothing before": ("", "Hello", "Hello"),
    "no text": ("Hello", "", ""),
}
CASES = [pytest.param(*case, id=name) for name, case in (TRIMMED | STAYS).items()]
# What can't be told from a restatement, and is left out: known, and not wanted.
EATEN = {
    "the first repetition of a closing tag": ("</div>\n", "</div>\n</body>", "</body>"),
    "the first repetition of a word of data": ("[null, ", "null, 1]", "1]"),
    "the first repetition of a line": ("Row your boat,\n", "Row your boat,\nLife", "Life"),
    "a word said twice": ("It is very", " very good", " good"),
}


@pytest.mark.parametrize(("before", "text", "expected"), CASES)
def test_cases(before, text, expected):
    for pieces in cuts(text):
        assert joined(before, pieces) == expected


@pytest.mark.parametrize(("before", "text", "expected"), EATEN.values(), ids=EATEN)
def test_what_can_not_be_told(before, text, expected):
    for pieces in cuts(text):
        assert joined(before, pieces) == expected


@pytest.mark.parametrize(("name", "limit"), [("TRIMMED", False), ("STAYS", True)])
def test_the_tables_agree_with_their_names(name, limit):
    for before, text, expected in globals()[name].values():
        assert (expected == text) == limit, (before, text)


RESTORED = {
    "goes on behind the blanks": ("One. ", " ", " Two.", "Two."),
    "any number of them": ("One.\n\n", "\n\n", "\n\nTwo.", "Two."),
    "with more of them": ("One.\n", "\n", "\n\n- a", "\n- a"),
    "nothing but them": ("One.\n\n", "\n\n", "\n\n", ""),
    "fewer of them": ("One.\n\n", "\n\n", "\nTwo.", "\nTwo."),
    "fewer of them, and the end": ("One.\n\n", "\n\n", "\n", "\n"),
    "none of them": ("One. ", " ", "Two.", "Two."),
    "others": ("One.\n", "\n", " Two.", " Two."),
    "an echo of all that was sent": ("One, two. ", " ", "One, two. Three", "Three"),
    "an echo with other blanks": ("One, two.\n\n", "\n\n", "One, two.\nThree", "\nThree"),
    "an echo with blanks in front": ("\nOne, two.\n", "\n", "\nOne, two.\nThree", "Three"),
    "no echo of all": ("One, two.\n\n", "\n\n", "two.\nThree", "two.\nThree"),
    "an echo that is too short": ("One\n\n", "\n\n", "One\nTwo", "One\nTwo"),
    "an echo that may be a repetition": ("ha ha ha\n", "\n", "ha ha ha!", "ha ha ha!"),
    "the end restated": ("One, two. ", " ", "two. Three", "Three"),
    "blanks and the end restated": ("One, two. ", " ", " two. Three", "Three"),
}


@pytest.mark.parametrize(
    ("before", "restored", "text", "expected"), RESTORED.values(), ids=RESTORED
)
def test_blanks_that_were_not_sent(before, restored, text, expected):
    for pieces in cuts(text):
        assert joined(before, pieces, restored=restored) == expected


TEXTS = st.one_of(st.text("ab", max_size=12), st.text("ab \n1", max_size=16), st.text(max_size=8))


@st.composite
def seams(draw):
    before, text = draw(TEXTS), draw(TEXTS)
    if before and draw(st.booleans()):
        text = before[draw(st.integers(0, len(before) - 1)) :] + text
    restored = before[len(before.rstrip()) :] if draw(st.booleans()) else ""
    return before, text, restored if before != restored else ""


@st.composite
def cuttings(draw, text):
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@given(st.data(), seams())
@settings(max_examples=500, deadline=None)
def test_every_cutting_gives_the_same(data, seam):
    before, text, restored = seam
    whole = joined(before, [text], restored=restored)
    assert joined(before, list(text), restored=restored) == whole
    assert joined(before, data.draw(cuttings(text)), restored=restored) == whole


@given(seams())
@settings(max_examples=500, deadline=None)
@example(("abab" * 3, "abab" * 4, ""))
def test_all_or_all_but_the_longest_overlap(seam):
    before, text, _ = seam
    overlap = oracle(before, text)
    result = joined(before, list(text))
    assert result in (text, text[overlap:])
    if overlap < 4:
        assert result == text


@given(seams())
@settings(max_examples=500, deadline=None)
def test_an_overlap_that_repeats_stays(seam):
    before, text, _ = seam
    again = text[: oracle(before, text)]
    repeats = any(again.startswith(again[p:]) for p in range(1, len(again) // 2 + 1))
    twice = any(
        before[: len(before) - p].endswith(again) for p in range(1, len(again) + 1) if again
    )
    if repeats or twice:
        assert joined(before, [text]) == text


@given(seams())
@settings(deadline=None)
def test_an_end_that_is_found_nowhere_else_goes(seam):
    before, text, _ = seam
    end = " «The end, as it were» "
    assert joined(before + end, list(end + text)) == text


@given(seams(), st.integers(0, 20))
@settings(deadline=None)
def test_what_was_lost_on_the_way_is_let_go(seam, length):
    before, text, restored = seam
    text = text[:length]
    result = joined(before, list(text), restored=restored)
    assert text.endswith(result)
    if oracle(before, text) < 4 and not restored:
        assert result == text


def run(before, chunks, **options):
    out = []
    seam = Seam(before, out, **options)
    seen = []
    for chunk in chunks:
        seam.append(chunk)
        seen.append(len(out))
    return seam, out, seen


def test_text_is_held_only_as_long_as_needed():
    _, out, seen = run("The quick brown fox", map(Chunk, ("qu", "ick", " r", "abbit", "s")))
    assert seen == [0, 0, 1, 2, 3]
    assert [chunk.delta for chunk in out] == ["quick r", "abbit", "s"]


def test_the_overlap_is_known_when_its_last_character_is_there():
    _, out, seen = run("The quick brown fox", map(Chunk, ("brown", " fox", " jumps")))
    assert seen == [0, 0, 1]
    assert out[0].delta == " jumps"


def test_the_chunk_that_decides_carries_the_held_text():
    chunks = [Chunk("The ", raw=1), Chunk("end", raw=2)]
    _, out, _ = run("The quick brown fox", chunks)
    assert out == [Chunk("The end", raw=2)]
    assert out[0] is chunks[1]


def test_what_else_a_chunk_says_goes_on_at_once():
    told = [
        Chunk("The", role="assistant"),
        Chunk(" ", reasoning="hm"),
        Chunk("q", refusal="no"),
        Chunk("u", usage=Usage(1)),
        Chunk("i", extra={"a": 1}),
    ]
    _, out, seen = run("The quick brown fox", told)
    assert seen == [1, 2, 3, 4, 5]
    assert all(ours is theirs for ours, theirs in zip(out, told, strict=True))
    assert {chunk.delta for chunk in out} == {""}


def test_held_text_loses_its_logprobs_and_no_other_does():
    seam, out, _ = run("The foxes", [Chunk("fox", logprobs=[1]), Chunk(" ran", logprobs=[2])])
    seam.append(Chunk(" off", logprobs=[3]))
    assert [(chunk.delta, chunk.logprobs) for chunk in out] == [("fox ran", None), (" off", [3])]


def test_chunks_without_text_go_on_as_they_are():
    chunks = [Chunk(role="assistant"), Chunk(), Chunk("The"), Chunk(usage=Usage(1))]
    seam, out, seen = run("The fox", chunks)
    assert seen == [1, 2, 2, 3]
    seam.flush()
    assert [chunk.delta for chunk in out] == ["", "", "", "The"]


def test_other_choices_are_left_alone():
    chunks = [Chunk("The ", index=1), Chunk("The "), Chunk("fox", index=1, finish_reason="stop")]
    seam, out, seen = run("The fox", chunks)
    assert seen == [1, 1, 2]
    seam.flush()
    assert [(chunk.index, chunk.delta) for chunk in out] == [(1, "The "), (1, "fox"), (0, "The ")]


@pytest.mark.parametrize(
    "last",
    [
        {"finish_reason": "stop"},
        {"tool_calls": (ToolCallDelta(0, "1", "f"),)},
    ],
    ids=["finish_reason", "tool_calls"],
)
@pytest.mark.parametrize(
    ("first", "text", "expected"),
    [
        ("The q", "", "The q"),
        ("The q", "ui", "The qui"),
        ("The q", "?", "The q?"),
        ("brown ", "fox", ""),
        ("brown ", "fox!", "!"),
    ],
)
def test_held_text_comes_before_the_end_of_the_text(first, text, expected, last):
    seam, out, _ = run("The quick brown fox", [Chunk(first), Chunk(text, **last)])
    assert out == [Chunk(expected, **last)]
    seam.flush()
    assert len(out) == 1


def test_flush_gives_the_held_text_once_with_where_it_came_from():
    about = {"id": "i", "model": "m", "created": 1, "system_fingerprint": "f", "raw": object()}
    seam, out, _ = run("The fox", [Chunk("The", role="assistant", **about)])
    seam.flush()
    seam.flush()
    assert [chunk.delta for chunk in out] == ["", "The"]
    assert out[1] == Chunk("The", **about)
    assert out[1].raw is about["raw"]


def test_flush_without_text_adds_nothing():
    for before in ("", "The fox"):
        seam, out, _ = run(before, [])
        seam.flush()
        assert out == []


class Counted(str):
    """Counts the characters that are looked at."""

    __slots__ = ("work",)

    def __new__(cls, text):
        self = super().__new__(cls, text)
        self.work = 0
        return self

    def startswith(self, piece, at=0):
        self.work += len(piece)
        return super().startswith(piece, at)

    def find(self, text, start=0, end=None):
        found = super().find(text, start, end)
        self.work += len(text) + (found if found >= 0 else len(self)) - start
        return found

    def __getitem__(self, key):
        part = super().__getitem__(key)
        self.work += len(part)
        return part


def fibonacci(size):
    first, second = "a", "ab"
    while len(second) < size:
        first, second = second, second + first
    return second[:size]


SIZE = 20_000
STAIRS = "".join("a" * length + "b" for length in range(1, 200))
LONG = "".join(f"Line {number} says something of its own.\n" for number in range(SIZE // 40))
HARD = {
    "all restated": (LONG, LONG + "More."),
    "nearly all restated": (LONG, LONG[:-1] + "?" + LONG),
    "the second half restated": (LONG, LONG[len(LONG) // 2 :] + "More."),
    "one letter": ("a" * SIZE, "a" * SIZE),
    "one letter, then another": ("a" * SIZE, "a" * (SIZE // 2) + "b"),
    "one letter at the end": ("a" * SIZE + "b", "a" * (SIZE // 2) + "b" + "a"),
    "stairs": (STAIRS, "a" * 250),
    "stairs with a step": (STAIRS, "a" * 150 + "b" + "a" * 151 + "c"),
    "Fibonacci": (fibonacci(SIZE), fibonacci(SIZE // 2) + "b"),
    "Fibonacci, elsewhere": (fibonacci(SIZE), fibonacci(SIZE)[5 : SIZE // 2] + "bbb"),
    "two letters": ("ab" * (SIZE // 2), "ba" * (SIZE // 4) + "bb"),
    "blocks": (("a" * 99 + "b") * (SIZE // 100), ("a" * 99 + "b") * 90 + "a" * 100),
    "blanks": ("x" + " " * SIZE, " " * SIZE + "x"),
}


@pytest.mark.parametrize("size", [1, 4])
@pytest.mark.parametrize(("before", "text"), HARD.values(), ids=HARD)
def test_the_work_is_linear(before, text, size):
    before = Counted(before)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    result = joined(before, pieces)
    assert before.work < 12 * (len(before) + len(text))
    assert text.endswith(result)


def test_the_work_is_linear_when_a_long_answer_is_restated():
    text = LONG * 10  # 190 KB that begin again and again
    before = Counted(text)
    pieces = [text[at : at + 4] for at in range(0, len(text), 4)]
    assert joined(before, [*pieces, "More."]) == text + "More."  # it said all of it before
    assert before.work < 12 * 2 * len(text)
    before = Counted("Once: " + text)
    assert joined(before, ["Once: ", *pieces, "More."]) == "More."
    assert before.work < 12 * 2 * len(text)


def test_the_work_is_linear_for_blanks_that_were_not_sent():
    blanks = Counted(" " * SIZE)
    assert joined("x" + blanks, [*list(blanks), "y"], restored=blanks) == "y"
    assert blanks.work < 12 * SIZE
