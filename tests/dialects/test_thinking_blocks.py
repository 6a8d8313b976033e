"""Claude's thinking inside Chat Completions becomes details that can be sent back."""

import pytest

from llm_kit.dialects.thinking_blocks import ThinkingBlocks

SEALED = {"type": "redacted_thinking", "data": "X"}


def thinking(text=None, signature=None):
    return {"type": "thinking", "thinking": text, "signature": signature}


def details(*pieces):
    blocks = ThinkingBlocks()
    return [detail for piece in pieces for detail in blocks.details([piece])]


def text(index, text, **fields):
    labels = {"format": "anthropic-claude-v1", "index": index}
    return {"type": "reasoning.text", "text": text, **fields, **labels}


def test_pieces_are_of_one_block_up_to_its_signature():
    assert details(thinking("Hm"), thinking("."), thinking("", "S"), thinking("So")) == [
        text(0, "Hm"),
        text(0, "."),
        text(0, "", signature="S"),
        text(1, "So"),
    ]


def test_a_sealed_block_stands_alone():
    (one, two, three) = details(thinking("Hm"), SEALED, thinking("So", "T"))
    assert (one, three) == (text(0, "Hm"), text(2, "So", signature="T"))
    assert (two["type"], two["data"], two["index"]) == ("reasoning.encrypted", "X", 1)


def test_blocks_may_come_all_at_once():
    both = ThinkingBlocks().details([thinking("a", "S"), thinking("b", "T")])
    assert both == [text(0, "a", signature="S"), text(1, "b", signature="T")]


@pytest.mark.parametrize("blank", [thinking(), thinking("", ""), {"type": "redacted_thinking"}])
def test_a_block_that_says_nothing_is_left_out(blank):
    assert details(blank, thinking("a")) == [text(0, "a")]


@pytest.mark.parametrize(
    "blocks", [None, "x", {}, ["x"], [{"type": "new"}], [thinking(5)], [thinking("a", 5)]]
)
def test_another_form_is_not_read(blocks):
    assert ThinkingBlocks().details(blocks) is None
