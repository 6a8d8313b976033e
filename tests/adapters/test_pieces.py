"""Items of bytes: fragments of a body, or its lines without their ends."""

import pytest

from llm_kit import StreamCollector, normalize
from llm_kit.adapters.pieces import Pieces

EVENT = b'data: {"choices": [{"delta": {"content": "data: id: "}, "finish_reason": "stop"}]}'
BODY = b": hello\n\nevent: message\n" + EVENT + b"\n\nid: 5\n" + EVENT + b"\n\ndata: [DONE]\n\n"


def joined(items):
    pieces = Pieces()
    return b"".join([pieces.feed(item) for item in items] + [pieces.flush()])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_fragments_stay_as_they_are(end):
    body = BODY.replace(b"\n", end)
    for size in range(1, len(body) + 1):
        fragments = [body[at : at + size] for at in range(0, len(body), size)]
        assert joined(fragments) == body
    assert joined([b'data: {"a"', b': "x"}', end, end]) == b'data: {"a": "x"}' + end + end


@pytest.mark.parametrize(
    "body", [BODY, EVENT + b"\n\n" + EVENT + b"\n", b"id: 1\n" + EVENT + b"\n"]
)
def test_lines_get_their_ends_back(body):
    assert joined(body.split(b"\n")[:-1]) == body
    assert joined(line for line in body.splitlines(keepends=True)) == body


def test_what_is_held_back_comes_at_the_end():
    assert joined([EVENT]) == EVENT
    assert joined([]) == joined([b""]) == b""
    assert joined([b"", b"data: 1", b""]) == b"data: 1\n\n"
    assert joined([b'{"a": 1}', b'{"a": 2}']) == b'{"a": 1}{"a": 2}'


def test_lines_without_ends_are_a_stream(colour):
    for dialect in (None, "openai"):
        stream = normalize(colour.source(BODY.split(b"\n")), dialect)
        assert colour.run(StreamCollector.to_string(stream)) == "data: id: data: id: "
    lines = [
        b'{"message": {"content": "a"}, "done": false}',
        b'{"done": true, "done_reason": "stop"}',
    ]
    lines[1] = lines[1].replace(b'{"done"', b'{"message": {"content": "b"}, "done"')
    stream = normalize(colour.source(lines), "ollama")
    assert colour.run(StreamCollector.to_string(stream)) == "ab"
