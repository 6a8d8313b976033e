"""Text completions: what their objects say."""

import pytest

from llm_kit import Chunk, StreamAPIError, StreamProtocolError, Usage
from llm_kit.dialects.completions import CompletionsDialect

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def read(*payloads):
    """The chunks of these objects, in one stream."""
    dialect, chunks = CompletionsDialect(set()), []
    for payload in payloads:
        dialect.read(payload, chunks, payload)
    return chunks


def chunk_of(**choice):
    """The one chunk of an object with this choice."""
    (chunk,) = read({"choices": [{"index": 0, **choice}]})
    return chunk


def test_a_chunk_has_all_that_its_object_says():
    payload = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1755097699,
        "model": "m",
        "system_fingerprint": "fp",
        "choices": [
            {"text": " is", "index": 0, "logprobs": {"tokens": [" is"]}, "finish_reason": "stop"}
        ],
        "usage": USAGE,
    }
    assert read(payload) == [
        Chunk(
            " is",
            finish_reason="stop",
            usage=Usage(3, 4, 7, raw=USAGE),
            logprobs={"tokens": [" is"]},
            id="cmpl-1",
            model="m",
            created=1755097699,
            system_fingerprint="fp",
            raw=payload,
        )
    ]


def test_fields_of_other_types_than_they_have_count_as_absent():
    (chunk,) = read(
        {
            "id": "",
            "model": None,
            "created": "now",
            "system_fingerprint": 1,
            "choices": [{"text": "a", "index": None}],
        }
    )
    assert (chunk.id, chunk.model, chunk.created, chunk.system_fingerprint) == (None,) * 4
    assert chunk.role is None


def test_a_choice_without_an_index_has_that_of_its_place():
    chunks = read({"choices": [{"text": "a"}, {"text": "b"}]})
    assert [(chunk.index, chunk.delta) for chunk in chunks] == [(0, "a"), (1, "b")]


def test_choices_that_come_one_by_one_keep_their_index():
    chunks = read(
        {"choices": [{"index": 1, "text": "b"}]}, {"choices": [{"index": 0, "text": "a"}]}
    )
    assert [(chunk.index, chunk.delta) for chunk in chunks] == [(1, "b"), (0, "a")]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("eos", "stop"),
        ("eos_token", "stop"),
        ("abort", "abort"),
        ("", None),
        (None, None),
    ],
)
def test_endings_are_told_in_common_words(word, meant):
    assert chunk_of(text="a", finish_reason=word).finish_reason == meant


@pytest.mark.parametrize("text", ["", None])
def test_an_ending_needs_no_text(text):
    assert chunk_of(text=text, finish_reason="length") == Chunk(
        finish_reason="length",
        raw={"choices": [{"index": 0, "text": text, "finish_reason": "length"}]},
    )


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"choices": None},
        {"choices": []},
        {"choices": [], "usage": None},
        {"choices": [{"index": 0, "text": "", "finish_reason": None}]},
        {"choices": [{}]},
    ],
)
def test_what_says_nothing_gives_no_chunk(payload):
    assert read(payload) == []


@pytest.mark.parametrize("choices", [[], None])
def test_usage_may_come_alone(choices):
    (chunk,) = read({"id": "cmpl-1", "choices": choices, "usage": USAGE})
    assert (chunk.usage, chunk.id, chunk.finish_reason) == (
        Usage(3, 4, 7, raw=USAGE),
        "cmpl-1",
        None,
    )


def test_usage_is_told_once_where_there_are_several_choices():
    chunks = read({"choices": [{"text": "a"}, {"text": "b"}], "usage": USAGE})
    assert [chunk.usage is not None for chunk in chunks] == [True, False]


def test_usage_beside_a_choice_that_says_nothing_is_kept():
    (chunk,) = read({"choices": [{"text": ""}], "usage": USAGE})
    assert chunk.usage == Usage(3, 4, 7, raw=USAGE)


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        ({"choices": {"text": "a"}}, "choices"),
        ({"choices": ["a"]}, r"choices\[0\]"),
        ({"choices": [{"text": ["a"]}]}, r"choices\[0\]\.text"),
        ({"choices": [{"text": "a", "finish_reason": 1}]}, "finish_reason"),
        ({"choices": [{"text": "a"}], "usage": 7}, "usage"),
    ],
)
def test_a_field_that_carries_the_answer_must_have_its_type(payload, where):
    with pytest.raises(StreamProtocolError, match=rf"`{where}` is a"):
        read(payload)


@pytest.mark.parametrize(
    ("payload", "message", "code"),
    [
        ({"error": {"message": "too long", "code": 400}}, "too long", 400),
        ({"error": "boom"}, "boom", None),
        ({"choices": None, "error": "boom"}, "boom", None),
        ({"object": "error", "message": "no such model", "code": 404}, "no such model", 404),
        ({"detail": "Not Found"}, "Not Found", None),
        ({"choices": [], "code": 1008, "message": "no balance"}, "no balance", 1008),
    ],
)
def test_an_error_is_raised(payload, message, code):
    with pytest.raises(StreamAPIError) as caught:
        read(payload)
    assert (caught.value.message, caught.value.code) == (message, code)


def test_text_beside_an_error_is_not_lost():
    chunks = []
    with pytest.raises(StreamAPIError, match="boom"):
        CompletionsDialect(set()).read(
            {"choices": [{"text": "a"}], "error": {"message": "boom"}}, chunks, None
        )
    assert [chunk.delta for chunk in chunks] == ["a"]


def test_no_object_says_that_the_stream_is_over():
    dialect = CompletionsDialect(set())
    dialect.read({"choices": [{"text": "", "finish_reason": "stop"}]}, [], None)
    assert not dialect.done


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        ({"object": "text_completion", "choices": [{"text": "a", "index": 0}]}, True),
        ({"choices": [{"text": ""}]}, True),
        ({"object": "text_completion", "choices": []}, True),
        ({"object": "chat.completion.chunk", "choices": [{"delta": {}, "text": "a"}]}, False),
        ({"object": "chat.completion", "choices": [{"message": {}}]}, False),
        ({"choices": [{"index": 0}]}, False),
        ({"choices": ["text"]}, False),
        ({"choices": []}, False),
        ({"error": {"message": "boom"}}, False),
        ({"text": "a"}, False),
        ({}, False),
    ],
)
def test_recognises_its_own_only(payload, answer):
    assert CompletionsDialect.recognises(payload) is answer
