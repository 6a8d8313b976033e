"""Bytes that were once a valid stream: whatever becomes of them, only our errors come out."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_kit import Limits, LLMKitError, StreamProcessor
from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects.openai import OpenAIDialect
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
]
# Bytes and words that mean something here are put in more often than chance would.
SPLINTERS = [
    *(b"\n", b"\r", b"\n\n", b":", b'"', b"{", b"}", b"[", b"]", b",", b"\\", b"\xff", b"\0"),
    *(b"null", b"5", b"1e999", b"NaN", b"true", b'"x"', b"[]", b"{}", b"data: ", b"error: "),
    *(b"[DONE]", b'"error":', b'"choices":', b'"\\ud800"', b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"<"),
]
BYTES = st.binary(max_size=4) | st.sampled_from(SPLINTERS)


@st.composite
def broken_bodies(draw):
    """A valid body, flipped, cut, with bytes put in or taken out."""
    body = bytearray(draw(st.sampled_from(STREAMS)))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(body)))
        match draw(st.sampled_from(["flip", "insert", "delete", "replace", "repeat", "cut"])):
            case "flip":
                body[at : at + 1] = bytes(
                    byte ^ draw(st.integers(1, 255)) for byte in body[at:][:1]
                )
            case "insert":
                body[at:at] = draw(BYTES)
            case "delete":
                del body[at : at + draw(st.integers(1, 40))]
            case "replace":
                splinter = draw(BYTES)
                body[at : at + len(splinter)] = splinter
            case "repeat":
                body[at:at] = body[at : at + draw(st.integers(1, 200))]
            case "cut":
                del body[at:]
    return bytes(body)


CUTS = st.lists(st.integers(0, 2_000), max_size=6).map(sorted)


def check(body, cuts, on_malformed):
    decoder = WireDecoder(OpenAIDialect(), Limits(event=4_000, response=8_000), on_malformed)
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


@given(broken_bodies(), CUTS, st.sampled_from(["raise", "skip"]))
@settings(max_examples=300, deadline=None)
def test_broken_bodies(body, cuts, on_malformed):
    check(body, cuts, on_malformed)


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(broken_bodies(), CUTS, st.sampled_from(["raise", "skip"]))
@settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_many_broken_bodies(body, cuts, on_malformed):
    check(body, cuts, on_malformed)


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
