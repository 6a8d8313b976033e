"""Bytes that were once a valid stream: whatever becomes of them, only our errors come out."""

import json
import pathlib
import random

import pytest
from answers import CALLS, TEXT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_kit import Limits, LLMKitError, StreamProcessor
from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects import DIALECTS
from llm_kit.wire import WireDecoder


def frame(payload):
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def event(delta, **choice):
    return frame({"id": "i", "model": "m", "choices": [{"index": 0, "delta": delta} | choice]})


STREAMS = [
    b": hello\n\nid: 1\nevent: message\n"
    + event({"role": "assistant", "content": "Hel"})
    + event({"content": "lo \U0001f600", "padding": [1]}, logprobs={"content": [{"token": "x"}]})
    + event({"content": [{"type": "text", "text": "x"}, {"thinking": [{"text": "y"}]}]})
    + event({}, finish_reason="stop")
    + frame({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens_details": {}}})
    + b"data: [DONE]\n\n",
    event({"reasoning_details": [{"index": 0, "text": "a"}], "refusal": "no"})
    + event({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]})
    + event({"tool_calls": [{"index": 0, "function": {"arguments": '{"a": [1'}}]})
    + event({"tool_calls": [{"function": {"arguments": {"b": 2}}}]}, finish_reason="tool_calls")
    + frame({"x_groq": {"usage": {"total_tokens": 4}}, "choices": [{"index": 1}]}),
    event({"content": "x"}) + b'{\n"error": {"message": "m",\n"code": 500}\n}\nerror: {"a": 1}\n',
    b"event: error\n" + frame({"message": "m", "code": "429", "type": "t"}),
    json.dumps(
        {"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}], "usage": {}},
        indent=1,
    ).encode(),
    b'\xef\xbb\xbf{"detail": [{"msg": "m"}]}',
    *(b"".join(answer) for answers in (TEXT, CALLS) for answer in answers.values()),
]
# Bytes and words that mean something here are put in more often than chance would.
SPLINTERS = [
    *(b"\n", b"\r", b"\n\n", b":", b'"', b"{", b"}", b"[", b"]", b",", b"\\", b"\xff", b"\0"),
    *(b"null", b"5", b"1e999", b"NaN", b"true", b'"x"', b"[]", b"{}", b"data: ", b"error: "),
    *(b"[DONE]", b'"error":', b'"choices":', b'"\\ud800"', b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"<"),
]
# Values that leave the JSON whole, but have another type than the one before.
VALUES = [b"null", b"-1", b"1e999", b"true", b'""', b'"x"', b"[]", b"{}", b"[1]", b'[{"a":[]}]']
MUTATIONS = ["flip", "insert", "delete", "replace", "repeat", "splice", "cut", "value", "value"]
LIMITS = [Limits(event=4_000, response=8_000), Limits()]


def splinter(chance):
    if chance.random() < 0.5:
        return bytes(chance.randrange(256) for _ in range(chance.randint(0, 4)))
    return chance.choice(SPLINTERS)


def piece(body, chance, longest):
    start = chance.randint(0, len(body))
    return body[start : start + chance.randint(1, longest)]


def broken(sources, chance):
    """A valid body, flipped, cut, with bytes put in or taken out; and how to read it."""
    body = bytearray(chance.choice(sources))
    for _ in range(chance.randint(1, 6)):
        at = chance.randint(0, len(body))
        match chance.choice(MUTATIONS):
            case "flip":
                body[at : at + 1] = bytes(byte ^ chance.randint(1, 255) for byte in body[at:][:1])
            case "insert":
                body[at:at] = splinter(chance)
            case "delete":
                del body[at : at + chance.randint(1, 40)]
            case "replace":
                put = splinter(chance)
                body[at : at + len(put)] = put
            case "repeat":
                body[at:at] = body[at : at + chance.randint(1, 200)]
            case "splice":
                body[at:at] = piece(chance.choice(sources), chance, 200)
            case "cut":
                del body[at:]
            case "value":
                start = body.find(b'":', at) + 2
                end = min(body.find(end, start) % (len(body) + 1) for end in (b",", b"}"))
                body[start:end] = chance.choice(VALUES)
    cuts = sorted(chance.randint(0, len(body)) for _ in range(chance.randint(0, 6)))
    dialect = chance.choice([None, chance.choice(list(DIALECTS))])  # None: the right one, mostly
    return dialect, bytes(body), cuts, chance.choice(["raise", "skip"]), chance.choice(LIMITS)


# Hypothesis steers this chance, and shrinks what fails.
BROKEN = st.randoms(use_true_random=False).map(lambda chance: broken(STREAMS, chance))


def check(dialect, body, cuts, on_malformed, limits):
    decoder = WireDecoder(dialect, limits, on_malformed)
    total, chunks = Accumulator(), []
    try:
        for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
            decoder.feed(body[start:end], chunks)
        decoder.flush(chunks)
    except LLMKitError as error:
        problem = str(error)
        assert problem
    for chunk in chunks:
        total.feed(chunk, 0.0)
        total.partial_arguments(0)
    result = total.result()
    assert result.content == "".join(chunk.delta for chunk in chunks if chunk.index == 0)
    json.dumps(result.to_message())
    assert repr(result)


@given(BROKEN)
@settings(max_examples=300, deadline=None)
def test_broken_bodies(given_body):
    check(*given_body)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.no_cover  # it takes twice the time
@given(BROKEN)
@settings(max_examples=30_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_many_broken_bodies(given_body):
    check(*given_body)


def recorded(folder):
    """The bodies of other people's streams, by API: the rare ones shall come as often."""
    folder = pathlib.Path(folder)
    bodies = {}
    for record in json.loads((folder / "manifest.json").read_text("utf-8"))["records"]:
        bodies.setdefault(record["api"], []).append((folder / record["file"]).read_bytes())
    return bodies.values()


@pytest.mark.timeout(600)
@pytest.mark.no_cover  # it takes twice the time
def test_broken_bodies_without_shrinking(pytestconfig):
    """Many more, of recorded streams too: Hypothesis takes most of its time for itself."""
    folder = pytestconfig.getoption("--streams")
    sources = [STREAMS, *(recorded(folder) if folder else ())]
    seed = random.randrange(2**32)
    for number in range(200_000 if pytestconfig.getoption("--slow") else 1_000):
        chance = random.Random(f"{seed} {number}")
        given_body = broken(chance.choice(sources), chance)
        try:
            check(*given_body)
        except Exception as error:
            error.add_note(f"seed {seed}, number {number}: check{given_body!r}")
            raise


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("choices", "delta", "content", "index", "finish_reason", "usage", "error"),
                    *("tool_calls", "function", "arguments", "name", "id", "text", "thinking"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.lists(st.dictionaries(st.just("choices"), JSON, min_size=1) | JSON, max_size=4))
@settings(max_examples=300, deadline=None)
def test_objects_of_any_shape(items):
    processor = StreamProcessor()
    for item in items:
        try:
            processor.process(item if isinstance(item, dict) else {"choices": [item]})
        except LLMKitError:
            continue
    assert repr(processor.get_result())
