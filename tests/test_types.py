"""The nouns: what they hold, and the message that can be sent back."""

import pickle

import pytest

from llm_kit import ChoiceResult, Chunk, ResponseInfo, StreamResult, ToolCallDelta, Usage

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def test_a_chunk_with_nothing_in_it_invents_nothing():
    chunk = Chunk()
    assert (chunk.delta, chunk.reasoning, chunk.refusal, chunk.tool_calls) == ("", "", "", ())
    assert (chunk.role, chunk.finish_reason, chunk.usage, chunk.id, chunk.model) == (None,) * 5
    assert not chunk.is_done
    assert Chunk(finish_reason="stop").is_done


def test_values_are_small_and_pickle():
    for value in (Chunk("a"), ToolCallDelta(0, "c"), Usage(1, 2, 3), StreamResult(content="a")):
        assert not hasattr(value, "__dict__")
        assert pickle.loads(pickle.dumps(value)) == value


def test_big_or_private_things_are_not_in_a_repr():
    assert "secret" not in repr(Chunk(raw={"x": "secret"}))
    assert "secret" not in repr(Usage(raw={"x": "secret"}))
    assert "secret" not in repr(ResponseInfo(200, {"set-cookie": "secret"}))


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (ChoiceResult(content="Hi"), {"role": "assistant", "content": "Hi"}),
        (ChoiceResult(), {"role": "assistant", "content": ""}),
        (ChoiceResult(content="Hi", role="model"), {"role": "assistant", "content": "Hi"}),
        (
            ChoiceResult(tool_calls=[CALL]),
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
        ),
        (
            ChoiceResult(content="Hi", incomplete_tool_calls=[CALL]),
            {"role": "assistant", "content": "Hi"},
        ),
        (
            ChoiceResult(refusal="No."),
            {"role": "assistant", "content": "", "refusal": "No."},
        ),
        (
            ChoiceResult(content="Hi", reasoning="hm"),
            {"role": "assistant", "content": "Hi"},
        ),
        (
            ChoiceResult(reasoning="hm", tool_calls=[CALL]),
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [CALL],
                "reasoning_content": "hm",
            },
        ),
        (
            ChoiceResult(
                content="Hi", reasoning="hm", extra={"reasoning_details": [{"text": "hm"}]}
            ),
            {"role": "assistant", "content": "Hi", "reasoning_details": [{"text": "hm"}]},
        ),
    ],
)
def test_to_message(choice, message):
    assert choice.to_message() == message
