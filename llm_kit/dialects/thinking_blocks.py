"""
Claude's thinking as a gateway passes it on inside Chat Completions: in pieces of its own blocks.

Source of the form: LiteLLM's documentation, "'Thinking' / 'Reasoning Content'" (``thinking_blocks``
in its streamed deltas: a block for each token, and the signature in one behind them).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REASONING_FORMAT = "anthropic-claude-v1"
"""OpenRouter's name for reasoning that only Claude can read (its "Reasoning tokens" page)."""


class ThinkingBlocks:
    """What has been seen of one choice's blocks: pieces in a row are one, up to its signature."""

    def __init__(self) -> None:
        self._count = 0
        self._open = False

    def details(self, blocks: Any) -> list[dict[str, Any]] | None:
        """Give pieces of blocks as ``reasoning_details``; None if they have another form."""
        if not isinstance(blocks, list) or not all(map(_is_known, blocks)):
            return None
        return [self._detail(block) for block in blocks if _says_something(block)]

    def _detail(self, block: Mapping[str, Any]) -> dict[str, Any]:
        sealed = block["type"] == "redacted_thinking"
        if sealed or not self._open:
            self._count += 1
        labels = {"format": REASONING_FORMAT, "index": self._count - 1}
        if sealed:
            self._open = False
            return {"type": "reasoning.encrypted", "data": block.get("data"), **labels}
        signature = block.get("signature")
        self._open = not signature
        signed = {"signature": signature} if signature else {}
        return {"type": "reasoning.text", "text": block.get("thinking") or "", **signed, **labels}


def _is_known(block: Any) -> bool:
    return isinstance(block, Mapping) and (
        block.get("type") == "redacted_thinking"
        or (
            block.get("type") == "thinking"
            and all(isinstance(block.get(name), str | None) for name in ("thinking", "signature"))
        )
    )


def _says_something(block: Mapping[str, Any]) -> bool:
    return any(block.get(name) for name in ("thinking", "signature", "data"))
