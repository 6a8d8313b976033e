"""Inline thinking: what is moved, what stays, and that no cut makes a difference."""

from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llm_kit import Chunk, ToolCallDelta, Usage
from llm_kit._core.accumulator import Accumulator
from llm_kit._core.pipeline import Pipeline
from llm_kit._core.thinking import Thinking

TAGS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "<reasoning>": "</reasoning>",
}


def split(texts, tags=TAGS, begins_inside=False):
    """What goes on of an answer in these pieces: its content and its reasoning."""
    stage = Thinking(tags, begins_inside)
    content = reasoning = ""
    for text in texts:
        chunk = Chunk(text)
        (given_chunk,) = stage.feed(chunk, 0.0) or [chunk]
        content += given_chunk.delta
        reasoning += given_chunk.reasoning
    for chunk in stage.flush("complete"):
        content += chunk.delta
        reasoning += chunk.reasoning
    return content, reasoning


MOVED = [
    ("", "", ""),
    ("Hello", "Hello", ""),
    ("<think>Hm.</think>Hello", "Hello", "Hm."),
    ("<thinking>Hm.</thinking>Hello", "Hello", "Hm."),
    ("<reasoning>Hm.</reasoning>Hello", "Hello", "Hm."),
    ("<think></think>Hello", "Hello", ""),
    ("<think>\n\n</think>\n\nHello", "\n\nHello", "\n\n"),
    (" \n<think>Hm.</think>\nHello ", " \n\nHello ", "Hm."),
    # A block that is not closed was cut off: by a limit, or by the loop.
    ("<think>Hm.", "", "Hm."),
    ("<think>Hm.</thin", "", "Hm.</thin"),
    ("<think>", "", ""),
    # Several in a row, as gpt-oss on Bedrock sends them.
    ("<reasoning>a</reasoning><reasoning>b</reasoning>Hello", "Hello", "ab"),
    ("<think>a</think>\n<think>b</think>\nHello", "\n\nHello", "ab"),
    # Behind the first word it is what the answer says.
    ("Use <think>x</think>.", "Use <think>x</think>.", ""),
    ("`<think>` is a tag", "`<think>` is a tag", ""),
    ("<think>a</think>Hi <think>b</think>", "Hi <think>b</think>", "a"),
    ("<think>a</think>Hi </think>", "Hi </think>", "a"),
    ("<tool_call>{}", "<tool_call>{}", ""),
    ("<thin ice", "<thin ice", ""),
    ("<", "<", ""),
    ("<thin", "<thin", ""),
    ("< think>x</think>", "< think>x</think>", ""),
    # Each opener has its own closer, and no depth.
    ("<think>a</thinking>b</think>c", "c", "a</thinking>b"),
    ("<think>a<think>b</think>c</think>d", "c</think>d", "a<think>b"),
    ("<think>1 < 2 </ <</think>yes", "yes", "1 < 2 </ <"),
    # Without its opener a closing tag is no tag.
    ("Hm.</think>Hello", "Hm.</think>Hello", ""),
    ("</think>Hello", "</think>Hello", ""),
]
MOVED_INSIDE = [
    ("", "", ""),
    ("Hm.</think>Hello", "Hello", "Hm."),
    ("Hm.</thinking>Hello", "Hello", "Hm."),
    ("\nHm.\n</think>\nHello", "\nHello", "\nHm.\n"),
    ("</think>Hello", "Hello", ""),
    ("\n</think>Hello", "Hello", "\n"),
    ("Hm.", "", "Hm."),
    ("<", "", "<"),
    ("</thin", "", "</thin"),
    ("Use <think>.</think>Hello", "Hello", "Use <think>."),
    # The opener may come all the same.
    ("<think>Hm.</think>Hello", "Hello", "Hm."),
    ("\n<think>Hm.</thinking></think>Hello", "Hello", "\nHm.</thinking>"),
    ("a</think>\n<think>b</think>Hello", "\nHello", "ab"),
    ("a</think>Hello </think>", "Hello </think>", "a"),
]


@pytest.mark.parametrize(
    ("begins_inside", "text", "content", "reasoning"),
    [(False, *case) for case in MOVED] + [(True, *case) for case in MOVED_INSIDE],
)
def test_what_is_moved_and_that_each_single_cut_moves_the_same(
    begins_inside, text, content, reasoning
):
    for place in range(len(text) + 1):
        pieces = [text[:place], text[place:]]
        assert split(pieces, begins_inside=begins_inside) == (content, reasoning)
    assert split(text, begins_inside=begins_inside) == (content, reasoning)


PARTS = st.sampled_from(
    ["<think>", "</think>", "<thinking>", "</thinking>", "<", "</", "think>", "a", " ", "\n"]
)


@st.composite
def cut_texts(draw):
    text = "".join(draw(st.lists(PARTS, max_size=12)))
    places = sorted(draw(st.sets(st.integers(0, len(text)), max_size=8)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


@given(cut_texts(), st.booleans())
def test_no_cut_makes_a_difference(pieces, begins_inside):
    assert split(pieces, begins_inside=begins_inside) == split(
        ["".join(pieces)], begins_inside=begins_inside
    )


@given(cut_texts(), st.booleans())
@example(["<b>a</b>"], False)
def test_nor_do_tags_that_begin_or_end_alike(pieces, begins_inside):
    tags = {"<th": "nk>", "<think>": "</think>", "<thin": "</"}
    whole = split(["".join(pieces)], tags, begins_inside)
    assert split(pieces, tags, begins_inside) == whole


@given(cut_texts(), st.booleans())
def test_every_character_but_the_tags_stays(pieces, begins_inside):
    text = "".join(pieces)
    kept = Counter("".join(split(pieces, begins_inside=begins_inside)))
    assert kept <= Counter(text)  # nothing was invented
    missing = Counter(text) - kept
    assert missing["<"] == missing[">"]
    assert missing["<"] <= sum(text.count(tag) for pair in TAGS.items() for tag in pair)
    assert missing["a"] == missing[" "] == missing["\n"] == 0


@given(cut_texts())
def test_no_more_is_held_than_may_be_a_tag(pieces):
    stage = Thinking(TAGS)
    for text in pieces:
        stage.feed(Chunk(text), 0.0)
    held = "".join(chunk.delta + chunk.reasoning for chunk in stage.flush("complete"))
    assert held == "" or any(
        tag.startswith(held) and tag != held for pair in TAGS.items() for tag in pair
    )


def test_chunks_go_on_as_they_are_where_nothing_is_moved():
    stage = Thinking(TAGS)
    assert stage.feed(Chunk(role="assistant"), 0.0) is None
    assert stage.feed(Chunk("\n"), 0.0) is None
    assert stage.feed(Chunk("Hello"), 0.0) is None
    assert stage.feed(Chunk(" <think>"), 0.0) is None
    assert stage.feed(Chunk(finish_reason="stop"), 0.0) is None
    assert stage.flush("complete") == []


def test_the_caller_s_chunk_is_not_changed_and_all_else_in_it_is_kept():
    chunk = Chunk(
        "<think>Hm.</think>Hi",
        2,
        "assistant",
        refusal="no",
        tool_calls=(ToolCallDelta(0, "call_1", "f", "{}"),),
        finish_reason="stop",
        usage=Usage(1, 2, 3),
        logprobs={"content": []},
        extra={"citations": []},
        id="id",
        model="m",
        created=5,
        system_fingerprint="fp",
        raw={"choices": []},
        restarted=True,
    )
    (moved,) = Thinking(TAGS).feed(chunk, 0.0)
    assert (chunk.delta, chunk.reasoning) == ("<think>Hm.</think>Hi", "")
    assert (moved.delta, moved.reasoning) == ("Hi", "Hm.")
    moved.delta, moved.reasoning = chunk.delta, chunk.reasoning
    assert moved == chunk


def test_a_chunk_whose_text_is_held_goes_on_without_it():
    (held,) = Thinking(TAGS).feed(Chunk("<th", role="assistant", id="id"), 0.0)
    assert held == Chunk(role="assistant", id="id")


@pytest.mark.parametrize(
    ("begins_inside", "texts", "last", "released"),
    [
        (False, ["<th"], "", ("<th", "")),
        (False, ["<"], "th", ("<th", "")),
        (False, ["<think>Hm.</th"], "", ("", "</th")),
        (False, ["<think>Hm.</th"], "in", ("", "</thin")),
        (False, ["<think>Hm.</th"], "ink>Hi <", ("Hi <", "")),
        (True, ["<th"], "", ("", "<th")),
    ],
)
def test_what_is_held_goes_on_with_the_chunk_that_ends_its_choice(
    begins_inside, texts, last, released
):
    stage = Thinking(TAGS, begins_inside)
    for text in texts:
        stage.feed(Chunk(text), 0.0)
    (ending,) = stage.feed(Chunk(last, finish_reason="length"), 0.0)
    assert (ending.delta, ending.reasoning, ending.finish_reason) == (*released, "length")
    assert stage.flush("complete") == []


@pytest.mark.parametrize("status", ["complete", "interrupted", "truncated", "timeout", "error"])
def test_what_is_held_goes_on_however_the_stream_ends(status):
    stage = Thinking(TAGS)
    names = {"id": "id", "model": "m", "created": 5, "system_fingerprint": "fp", "raw": {"a": 1}}
    stage.feed(Chunk("<think>Hm.</", 1, "assistant", **names), 0.0)
    stage.feed(Chunk(index=1, id="other"), 0.0)
    stage.feed(Chunk("<", 0), 0.0)
    assert stage.flush(status) == [Chunk("", 1, reasoning="</", **names), Chunk("<")]
    assert stage.flush(status) == []


def test_choices_are_apart():
    stage, total = Thinking(TAGS), Accumulator()
    pipeline = Pipeline(total)
    pipeline.append(stage)
    for index, text in [(0, "<thi"), (1, "Hel"), (0, "nk>Hm"), (1, "<think>"), (0, "</think>Hi")]:
        pipeline.arrived.append(Chunk(text, index))
    while pipeline.pop():
        pass
    assert [(choice.content, choice.reasoning) for choice in total.result().choices] == [
        ("Hi", "Hm"),
        ("Hel<think>", ""),
    ]


@pytest.mark.parametrize("before", ["<think>Hm.", "<thi", "Hello"])
def test_a_new_beginning_begins_anew(before):
    stage = Thinking(TAGS, begun=[1])
    stage.feed(Chunk(before), 0.0)
    assert stage.feed(Chunk("<think>", 1), 0.0) is None
    assert stage.feed(Chunk(restarted=True), 0.0) is None
    for index in (0, 1):
        (chunk,) = stage.feed(Chunk("<think>Hm.</think>Hi", index), 0.0)
        assert (chunk.delta, chunk.reasoning) == ("Hi", "Hm.")
    assert stage.flush("complete") == []


def test_a_choice_whose_first_word_has_gone_by_is_left_alone():
    stage = Thinking(TAGS, begins_inside=True, begun=[0])
    assert stage.feed(Chunk("<think>Hm.</think>"), 0.0) is None
    (other,) = stage.feed(Chunk("Hm.</think>", 1), 0.0)
    assert other.reasoning == "Hm."


THOUGHT = "The user just\nsaid hello."


@pytest.mark.parametrize(
    "chunks",
    [
        [("", "The user"), ("", " just\nsaid hello."), (f"<think>{THOUGHT}</think>Hi", "")],
        [(f"<think>{THOUGHT}</think>Hi", ""), ("", "The user"), ("", " just\nsaid hello.")],
        [("<think>The user", "The user"), (" just\nsaid hello.</think>Hi", " just\nsaid hello.")],
        [
            ("<think>The", ""),
            (" user", "The user just\nsaid"),
            (" just\nsaid hello.</think>Hi", ""),
        ],
        [
            ("<think>", "The user"),
            ("The user just\nsaid ", "just\nsaid "),
            ("hello.</think>Hi", ""),
        ],
        [("<think>The user just\ns", ""), ("aid ", "The user just\nsaid hello."), ("hello.", "")],
    ],
    ids=["field first", "tags first", "together", "by turns", "overtaken", "overtaken later"],
)
def test_the_same_reasoning_in_the_tags_and_in_its_field_is_told_once(chunks):
    total = piped(chunks)
    assert "".join(total.reasoning().split()) == "".join(THOUGHT.split())
    assert total.content() in ("Hi", "")


def piped(chunks):
    pipeline = Pipeline(Accumulator())
    pipeline.append(Thinking(TAGS))
    pipeline.arrived.extend(Chunk(delta, reasoning=reasoning) for delta, reasoning in chunks)
    while pipeline.pop():
        pass
    pipeline.flush("complete")
    return pipeline.accumulator


def test_blanks_make_no_other_reasoning_of_it():
    total = piped([("<think>\nHm,  yes.\n</think>\n\nHi", "Hm, yes.")])
    assert (total.content(), total.reasoning()) == ("\n\nHi", "Hm, yes.")
    total = piped([("<think>\n", ""), ("Hm, yes.\n", "Hm,"), ("</think>Hi", " yes.")])
    assert (total.content(), total.reasoning()) == ("Hi", "\nHm, yes.\n")


def test_reasoning_that_differs_is_given_whole():
    total = piped([("", "Let me think."), ("<think>Let me", ""), (" see</think>Hi", "")])
    assert (total.content(), total.reasoning()) == ("Hi", "Let me think.Let me see")
    total = piped([("<think>Hm", "Well"), (" so</think>Hi", " well"), (" there", "!")])
    assert (total.content(), total.reasoning()) == ("Hi there", "WellHm well so!")


TWO_TEXTS = st.lists(
    st.tuples(st.booleans(), st.text("ab \n", min_size=1, max_size=4)), max_size=10
)


@given(TWO_TEXTS)
def test_of_two_sources_no_word_is_lost(pieces):
    total = piped([("<think>", "")] + [(text, "") if tag else ("", text) for tag, text in pieces])
    for source in (True, False):
        said = "".join("".join(text.split()) for tag, text in pieces if tag is source)
        told = iter("".join(total.reasoning().split()))
        assert all(sign in told for sign in said)  # a subsequence of what was told
