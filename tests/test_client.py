"""The client: what it sends, what it gives back, what it refuses."""

import pytest

from llm_kit import APIStatusError, LLMClient
from llm_kit.testing import FakeServer, Reply

MESSAGES = [{"role": "user", "content": "Hello"}]


def test_streams_an_answer(colour):
    with FakeServer(Reply.text("Hello, world!")) as server:
        stream = colour.stream(server)
        chunks = colour.read(stream)
    assert "".join(chunk.delta for chunk in chunks) == "Hello, world!"
    assert [chunk.finish_reason for chunk in chunks if chunk.is_done] == ["stop"]
    assert stream.result.status == "complete"
    assert stream.result.usage.completion_tokens == 2
    assert stream.result.chunk_count == len(chunks)
    assert stream.response.status_code == 200
