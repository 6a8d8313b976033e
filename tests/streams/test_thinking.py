"""split_thinking: everybody sees thinking apart from the answer, in whatever order they wrap."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_kit import (
    Chunk,
    RetryPolicy,
    StreamCollector,
    StreamInterrupted,
    StreamInterrupter,
    StreamProcessor,
    StreamTruncatedError,
    normalize,
    split_thinking,
)
from llm_kit.testing import Cut, FakeServer, Reply

TEXTS = ["<thi", "nk>\nHm", "m.</th", "ink>\n\nHel", "lo <think>"]
CONTENT, REASONING = "\n\nHello <think>", "\nHmm."


def event(content, finish_reason=None):
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    return {"id": "chat-1", "choices": [choice]}


def lost(*texts):
    """An answer that begins with these texts and is cut off."""
    return Reply((*Reply.events(map(event, texts)).steps, Cut()))


def answer(*texts):
    return Reply.events([*map(event, texts), event("", "stop"), "[DONE]"])


def test_without_it_the_tags_stay_in_the_content(colour):
    stream = normalize(colour.source(TEXTS))
    colour.read(stream)
    assert (stream.result.content, stream.result.reasoning) == ("".join(TEXTS), "")


def test_the_loop_and_the_result_have_thinking_and_answer_apart(colour):
    stream = split_thinking(colour.source(TEXTS))
    chunks = colour.read(stream)
    assert "".join(chunk.delta for chunk in chunks) == stream.result.content == CONTENT
    assert "".join(chunk.reasoning for chunk in chunks) == stream.result.reasoning == REASONING
    assert stream.result.status == "complete"


@given(st.lists(st.integers(0, len("".join(TEXTS))), max_size=8))
def test_no_cut_makes_a_difference(places):
    text = "".join(TEXTS)
    ends = [0, *sorted(places), len(text)]
    pieces = [text[start:end] for start, end in itertools.pairwise(ends)]
    result = StreamCollector.to_result(split_thinking(pieces))
    assert (result.content, result.reasoning) == (CONTENT, REASONING)


@pytest.mark.parametrize("place", range(4))
def test_whichever_wrapper_is_first_all_see_it_moved(colour, place):
    interrupter, processor, told = StreamInterrupter(), StreamProcessor(), {"": "", "think": ""}

    def collect(stream):
        return StreamCollector.collect(
            stream,
            on_delta=lambda text: told.update({"": told[""] + text}),
            on_reasoning=lambda text: told.update(think=told["think"] + text),
        )

    wrappers = [interrupter.wrap, processor.wrap, collect]
    wrappers.insert(place, split_thinking)
    with FakeServer(answer(*TEXTS)) as server:
        first = stream = colour.stream(server)
        for wrap in wrappers:
            stream = wrap(stream)
        assert stream is first
        colour.read(stream)
    assert interrupter.content == processor.content == told[""] == CONTENT
    assert interrupter.result.reasoning == processor.reasoning == told["think"] == REASONING
    assert processor.get_result() == stream.result
    assert stream.result.to_message() == {"role": "assistant", "content": CONTENT}


def test_two_of_them_work_in_the_order_of_wrapping(colour):
    stream = split_thinking(colour.source(["<a><b>Hm.</b></a>Hi"]), tags={"<a>": "</a>"})
    stream = split_thinking(stream, tags={"Hi": "never"})
    colour.read(stream)
    assert (stream.result.content, stream.result.reasoning) == ("", "<b>Hm.</b>")


def test_times_are_those_of_the_moved_text(colour):
    with FakeServer(answer(*TEXTS)) as server:
        stream = split_thinking(colour.stream(server))
        moments = {}
        for chunk in colour.each(stream):
            timing = stream.result.timing
            moments.setdefault(
                "text" if chunk.delta else "think" if chunk.reasoning else "", timing
            )
    assert moments[""].first_text is moments[""].first_reasoning is None
    assert moments["think"].first_reasoning is not None
    assert moments["think"].first_text is None
    assert moments["text"].first_text >= moments["think"].first_reasoning


def test_other_tags(colour):
    stream = split_thinking(
        colour.source(["[THI", "NK]Hm.[/THINK]<think>"]), tags={"[THINK]": "[/THINK]"}
    )
    colour.read(stream)
    assert (stream.result.content, stream.result.reasoning) == ("<think>", "Hm.")


@pytest.mark.parametrize(
    "tags",
    [{}, {"": "</think>"}, {"<think>": ""}, {" <think>": "</think>"}, {"<t>": "\n</t>"}, ["think"]],
)
def test_tags_that_are_none(tags):
    with pytest.raises(ValueError, match=r"each opening tag with its closing one, .*\]'}"):
        split_thinking(["Hello"], tags=tags)


def test_an_opener_that_stood_in_the_prompt(colour):
    texts = ["Hm.</thi", "nk>Hello"]
    stream = split_thinking(colour.source(texts), begins_inside=True)
    colour.read(stream)
    assert (stream.result.content, stream.result.reasoning) == ("Hello", "Hm.")
    stream = split_thinking(colour.source(texts))
    colour.read(stream)
    assert (stream.result.content, stream.result.reasoning) == ("Hm.</think>Hello", "")


def test_of_a_stream_that_was_read_already_the_rest(colour):
    items = [
        Chunk("Hello "),
        Chunk("<think>", finish_reason="stop"),
        Chunk("<think>Hm.</think>Hi", 1, finish_reason="stop"),
    ]
    stream = normalize(colour.source(items))
    loop = colour.each(stream)
    next(loop)
    split_thinking(stream)
    list(loop)
    assert [(choice.content, choice.reasoning) for choice in stream.result.choices] == [
        ("Hello <think>", ""),
        ("Hi", "Hm."),
    ]


def test_a_stream_that_has_ended_is_not_wrapped(colour):
    stream = normalize(colour.source(["a"]))
    colour.read(stream)
    with pytest.raises(ValueError, match="this stream has ended"):
        split_thinking(stream)


def test_an_answer_that_is_cut_in_a_tag_has_all_that_came(colour):
    with FakeServer(lost("<think>Hm.", "</thi")) as server:
        stream = split_thinking(colour.stream(server))
        error, chunks = colour.fail(stream, StreamTruncatedError)
    assert error.partial.reasoning == stream.result.reasoning == "Hm.</thi"
    assert "".join(chunk.reasoning for chunk in chunks) == "Hm.</thi"
    assert stream.result.status == "truncated"


@pytest.mark.parametrize("raises", [False, True])
def test_an_interrupt_keeps_what_was_held_too(colour, raises):
    interrupter = StreamInterrupter(raises)
    stream = interrupter.wrap(split_thinking(colour.source([*TEXTS[:3], "never"])))
    loop = colour.each(stream)
    seen = list(itertools.islice(loop, 3))
    interrupter.interrupt()
    if raises:
        with pytest.raises(StreamInterrupted) as caught:
            seen.extend(loop)
        assert caught.value.partial.reasoning == "\nHmm.</th"
    else:
        seen.extend(loop)
    assert "".join(chunk.reasoning for chunk in seen) == "\nHmm.</th"
    assert interrupter.result.reasoning == "\nHmm.</th"
    assert interrupter.result.status == "interrupted"


def test_a_stream_that_is_closed_has_in_its_result_what_was_held(colour):
    stream = split_thinking(colour.source([*TEXTS[:3], "never"]))
    list(itertools.islice(colour.each(stream), 3))
    assert stream.result.reasoning == "\nHmm."
    colour.close(stream)
    assert stream.result.reasoning == "\nHmm.</th"


@pytest.mark.parametrize("begun", [["<th"], ["<think>Hm.", "</th"]])
@pytest.mark.parametrize("recovery", ["restart", "continue"])
def test_an_answer_that_is_lost_while_thinking_begins_anew(colour, recovery, begun):
    with FakeServer(lost(*begun), answer(*TEXTS)) as server:
        client = colour.client(server, retry=RetryPolicy(pause=0.001))
        stream = split_thinking(colour.stream(server, client=client, recovery=recovery))
        colour.read(stream)
    result = stream.result
    assert (result.content, result.reasoning, result.attempts) == (CONTENT, REASONING, 2)


def test_a_lost_answer_is_continued_from_its_text_without_the_thinking(colour):
    replies = lost("<think>Hm.</think>", "One two"), answer(" three")
    with FakeServer(*replies) as server:
        client = colour.client(server, retry=RetryPolicy(pause=0.001))
        stream = split_thinking(colour.stream(server, client=client, recovery="continue"))
        colour.read(stream)
        sent = server.requests[1].json["messages"]
    assert (stream.result.content, stream.result.reasoning) == ("One two three", "Hm.")
    assert [message["content"] for message in sent if message["role"] == "assistant"] == ["One two"]
