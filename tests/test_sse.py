"""The wire format: every cut of every stream gives the same events, and limits hold."""

from __future__ import annotations

import base64
import hashlib
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llm_kit.errors import StreamProtocolError
from llm_kit.sse import ServerSentEvent, SSEDecoder, encode_event

BOM = b"\xef\xbb\xbf"


def cut(body: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[a:b] for a, b in pairwise(edges)]


def singly(body: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in body]


def decode(pieces: list[bytes]) -> dict[str, Any]:
    decoder = SSEDecoder()
    events, counts = [], []
    for piece in pieces:
        events += decoder.feed(piece)
        counts.append(len(events))
    seen = {
        "events": events,
        "id": decoder.last_event_id,
        "retry": decoder.retry,
        "tail": decoder.flush(),
        "stray": decoder.stray,
    }
    assert (decoder.last_event_id, decoder.retry) == (seen["id"], seen["retry"])
    assert decoder.flush() == []
    return {**seen, "counts": counts}


class Oracle:
    """The same rules again, byte by byte and without a thought for speed."""

    def __init__(self, body: bytes) -> None:
        self.events: list[ServerSentEvent] = []
        self.id, self.retry = "", None
        self.stray: list[str] = []
        self.new_id, self.now_retry = "", None
        self.data: list[str] = []
        self.type = ""
        line = bytearray()
        before = -1
        for byte in body.removeprefix(BOM):
            if byte == 10 and before == 13:
                pass
            elif byte in (10, 13):
                self.line(line.decode("utf-8", "replace"))
                line.clear()
            else:
                line.append(byte)
            before = byte
        rest = line.decode("utf-8", "replace")
        if rest.split(":")[0] not in ("event", "id", "retry"):
            self.line(rest or ":")
        self.tail = [self.event()] if any(self.data) else []

    def event(self) -> ServerSentEvent:
        return ServerSentEvent(
            "\n".join(self.data), self.type or "message", self.new_id, self.now_retry
        )

    def line(self, line: str) -> None:
        if line == "":
            self.id = self.new_id
            if self.data:
                self.events.append(self.event())
            self.data, self.type, self.now_retry = [], "", None
            return
        if line[0] == ":":
            return
        field, value = line.split(":", 1) if ":" in line else (line, "")
        value = value.removeprefix(" ")
        if field == "data":
            self.data.append(value)
        elif field == "event":
            self.type = value
        elif field == "id":
            self.new_id = self.new_id if "\0" in value else value
        elif field == "retry":
            if value and all(char in "0123456789" for char in value):
                self.retry = self.now_retry = int(value)
        else:
            self.stray.append(line)

    def seen(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "id": self.id,
            "retry": self.retry,
            "tail": self.tail,
            "stray": self.stray,
        }


FRAGMENTS = [
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\r\n\r\n", b":", b" ", b"\0", BOM, b"\xef\xbb", b"\xff"),
    *(b"data", b"data:", b"data: x", b"data: {}\n\n", b"event: ping\n", b"event", b": note\n"),
    *(b"id: 7\n", b"id\n", b"id: 8\x00\n", b"retry: 15\n", b"retry: x\n", b"stray\n", b'{"a": 1}'),
    *("é€😀".encode(), "\u2028\u2029\x85".encode(), b"\x0b\x0c\x1c\x1d\x1e"),
]
bodies = st.lists(st.sampled_from(FRAGMENTS), max_size=25).map(b"".join)
one_line = st.text().filter(lambda text: not set(text) & set("\r\n\0"))
cuts = st.lists(st.integers(0, 400), max_size=12)


def test_bytes_split_into_lines_at_cr_and_lf_only() -> None:
    assert len(bytes(range(256)).replace(b"\r", b"").replace(b"\n", b"").splitlines()) == 1
    assert b"a\nb\rc\r\nd\n\re".splitlines() == [b"a", b"b", b"c", b"d", b"", b"e"]


@settings(deadline=None, max_examples=500)
@given(bodies, cuts)
@example(b"data: a\r\n\r\ndata: b\r\n\r\n", [8])
@example(BOM + b"data: a\n\n", [1, 2])
@example(b"data: \xe2\x82\xac\n\n", [7, 7, 8])
def test_every_cut_gives_what_the_byte_by_byte_oracle_gives(body: bytes, places: list[int]) -> None:
    wanted = Oracle(body).seen()
    for pieces in ([body], cut(body, places), singly(body)):
        seen = decode(pieces)
        seen.pop("counts")
        assert seen == wanted


@pytest.mark.parametrize(
    ("body", "stray"),
    [
        pytest.param(b'{"error": {"code": 429}}\n', ['{"error": {"code": 429}}'], id="bare JSON"),
        pytest.param(b'{"error": 1}', ['{"error": 1}'], id="without a line end"),
        pytest.param(b"Internal\nServer Error", ["Internal", "Server Error"], id="plain text"),
        pytest.param(b'error: {"code": 1}\n\n', ['error: {"code": 1}'], id="a field named error"),
        pytest.param(b" data: x\n", [" data: x"], id="a space before the name"),
        pytest.param(b"a\xff\n", ["a\ufffd"], id="bytes that are no text"),
        pytest.param(b": ping\n\ndata: x\nid: 1\n\n", [], id="comments and fields are none"),
    ],
)
def test_lines_that_the_standard_ignores_are_kept_aside(body: bytes, stray: list[str]) -> None:
    for pieces in ([body], singly(body)):
        assert decode(pieces)["stray"] == stray


def test_stray_lines_are_kept_up_to_64_kib() -> None:
    decoder = SSEDecoder()
    for _ in range(3):
        decoder.feed(b"<" * 40_000 + b"\n")
    assert [len(line) for line in decoder.stray] == [40_000, 65_536 - 40_000]


@pytest.mark.parametrize(
    ("body", "tail"),
    [
        pytest.param(b"data: [DONE]", ["[DONE]"], id="no line end at all"),
        pytest.param(b"data: [DONE]\n", ["[DONE]"], id="no blank line"),
        pytest.param(b"data: a\n\nid: 3\nevent: e", [], id="fields without data"),
        pytest.param(b"data: a\ndata", ["a\n"], id="a last line without colon"),
        pytest.param(b"data:\n", [], id="data without text"),
        pytest.param(b"", [], id="an empty body"),
    ],
)
def test_flush_gives_the_pending_event_if_it_has_text(body: bytes, tail: list[str]) -> None:
    assert [event.data for event in decode([body])["tail"]] == tail


def test_a_field_that_the_end_may_have_cut_does_not_count() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"id: 1\ndata: a\n\nid: 2\nevent: delta\ndata: b\nretry: 15")
    assert decoder.flush() == [ServerSentEvent("b", "delta", "2", None)]
    assert (decoder.last_event_id, decoder.retry) == ("1", None)


def test_a_retry_that_int_would_refuse_is_ignored() -> None:
    assert decode([b"retry: " + b"9" * 5000 + b"\n\n"])["retry"] is None


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param([b"data: " + b"x" * 200], id="one line, one piece"),
        pytest.param([b"data: ", *[b"x" * 10] * 20], id="one line in pieces"),
        pytest.param([b"data: x\n"] * 20, id="many lines"),
        pytest.param([b"data:\n"] * 20, id="many empty lines"),
        pytest.param([b": ", *[b"z" * 10] * 20], id="a comment"),
        pytest.param([b"data: a\n\n", b"data: " + b"x" * 200], id="after an event"),
    ],
)
def test_an_unfinished_event_over_the_limit_is_an_error(pieces: list[bytes]) -> None:
    def run(decoder: SSEDecoder) -> None:
        for piece in pieces:
            decoder.feed(piece)

    with pytest.raises(StreamProtocolError, match=r"limit of 100; .* Limits\(event=\.\.\.\)"):
        run(SSEDecoder(max_event=100))
    run(SSEDecoder(max_event=None))


def test_finished_events_and_keep_alives_never_reach_the_limit() -> None:
    decoder = SSEDecoder(max_event=100)
    for _ in range(50):
        assert len(decoder.feed(b"data: x\n\n: ping\n\ndata: ")) == 1
        assert len(decoder.feed(b"y\n\n")) == 1
    for _ in range(50):
        assert decoder.feed(b": ping\n\n") == []


def test_events_that_came_with_the_excess_are_given_first() -> None:
    decoder = SSEDecoder(max_event=100)
    assert len(decoder.feed(b"data: a\n\ndata: " + b"x" * 200)) == 1
    with pytest.raises(StreamProtocolError):
        decoder.feed(b"x" * 101)


def test_a_long_event_in_small_pieces_is_joined_once() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"data: ")
    pieces = [b"x" * 4096 for _ in range(1280)]
    for piece in pieces:
        assert decoder.feed(piece) == []
    # The very objects that came: nothing grows but the list.
    assert all(a is b for a, b in zip(decoder._tail[1:], pieces, strict=True))
    assert decoder.feed(b"\n\n")[0].data == "x" * 4096 * 1280


@settings(deadline=None)
@given(
    st.text(),
    st.none() | one_line,
    st.none() | one_line,
    st.none() | st.integers(0, 10**6),
)
@example("a\r\nb\rc\n\n", "", "", 0)
def test_an_encoded_event_is_read_back(
    data: str, event: str | None, last_id: str | None, retry: int | None
) -> None:
    body = encode_event(data, event=event, id=last_id, retry=retry)
    lines = data.replace("\r\n", "\n").replace("\r", "\n")
    assert decode([body])["events"] == [
        ServerSentEvent(lines, event or "message", last_id or "", retry),
    ]


@pytest.mark.parametrize("bad", ["a\nb", "a\rb", "a\0b"])
@pytest.mark.parametrize("field", ["event", "id"])
def test_encoding_refuses_what_would_forge_a_field(field: str, bad: str) -> None:
    with pytest.raises(ValueError, match=f"{field} must not contain"):
        encode_event("x", **{field: bad})  # type: ignore[arg-type]


def test_encoding_refuses_a_negative_retry() -> None:
    with pytest.raises(ValueError, match="negative: -1"):
        encode_event("x", retry=-1)


def bytes_of(chunk: Any) -> bytes:
    if isinstance(chunk, str):
        return base64.b64decode(chunk)
    return base64.b64decode(chunk["b64"]) * int(chunk["times"])


def matches(event: ServerSentEvent, wanted: dict[str, Any]) -> bool:
    if "data" in wanted:
        same = event.data == wanted["data"]
    else:
        digest = hashlib.sha256(event.data.encode()).hexdigest()
        same = (len(event.data), digest) == (wanted["data_len"], wanted["data_sha256"])
    fields = (event.event, event.id, event.retry)
    return same and fields == (wanted["event"], wanted["id"], wanted["retry"])


def holds(case: dict[str, Any], pieces: list[bytes]) -> bool:
    seen = decode(pieces)
    tail = [case["tail"]] if case.get("tail") else []
    return (
        len(seen["events"]) == len(case["events"])
        and all(map(matches, seen["events"], case["events"]))
        and {"last_event_id": seen["id"], "retry": seen["retry"]} == case["final"]
        and len(seen["tail"]) == len(tail)
        and all(map(matches, seen["tail"], tail))
    )


def in_two(body: bytes) -> list[list[bytes]]:
    # The few bodies of a megabyte are cut at some hundred places instead of all.
    step = 1 if len(body) <= 5000 else len(body) // 97
    return [[body[:place], body[place:]] for place in range(0, len(body) + 1, step)]


@pytest.mark.parametrize("way", ["joined", "its own chunks", "byte by byte", "in two"])
def test_the_external_cases_hold(sse_cases: list[dict[str, Any]], way: str) -> None:
    wrong = []
    for case in sse_cases:
        chunks = [bytes_of(chunk) for chunk in case["chunks"]]
        body = b"".join(chunks)
        runs = {
            "joined": lambda body=body: [[body]],
            "its own chunks": lambda chunks=chunks: [chunks],
            "byte by byte": lambda body=body: [singly(body)],
            "in two": lambda body=body: in_two(body),
        }[way]()
        if not all(holds(case, pieces) for pieces in runs):
            wrong.append(case["name"])
    assert wrong == []


def test_the_external_cases_come_as_early_as_they_may(sse_cases: list[dict[str, Any]]) -> None:
    wrong = []
    for case in sse_cases:
        counts = decode([bytes_of(chunk) for chunk in case["chunks"]])["counts"]
        if counts not in (case["counts"], case["counts_lazy"]):
            wrong.append((case["name"], counts))
    assert wrong == []
