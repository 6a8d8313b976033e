"""The body of an answer, cut anywhere, to chunks; and the bodies that are no stream."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_kit import Limits, StreamAPIError, StreamProtocolError
from llm_kit.wire import WireDecoder


def event(delta=None, **choice):
    """An event with one choice, as bytes."""
    payload = {"choices": [{"index": 0, "delta": delta or {}, **choice}]}
    return b"data: " + json.dumps(payload, ensure_ascii=False).encode() + b"\n\n"


HELLO = event({"content": "Hello"})
FINISH = event(finish_reason="stop")
DONE = b"data: [DONE]\n\n"
WHOLE = HELLO + FINISH + DONE


class Reading:
    """A decoder, and what it has given."""

    def __init__(self, dialect="openai", on_malformed="raise", **limits):
        self.decoder = WireDecoder(dialect, Limits(**limits), on_malformed)
        self.chunks = []

    def feed(self, *parts):
        for part in parts:
            self.decoder.feed(part, self.chunks)
        return self

    def end(self, *parts):
        self.feed(*parts).decoder.flush(self.chunks)
        return self

    @property
    def text(self):
        return "".join(chunk.delta for chunk in self.chunks)

    @property
    def finish(self):
        return [chunk.finish_reason for chunk in self.chunks if chunk.is_done]

    @property
    def quirks(self):
        return self.decoder.quirks


def error_of(*parts, kind=Exception, **settings):
    """The error that this body ends in, and what was read before it."""
    reading = Reading(**settings)
    with pytest.raises(kind) as caught:
        reading.end(*parts)
    return caught.value, reading


def singles(body):
    return [body[at : at + 1] for at in range(len(body))]


def test_a_whole_stream():
    reading = Reading().end(WHOLE)
    assert (reading.text, reading.finish, reading.decoder.done) == ("Hello", ["stop"], True)
    assert reading.quirks == set()
    assert not reading.decoder.ends_by_exhaustion


def test_nothing_is_read_behind_the_end_marker():
    reading = Reading().end(WHOLE + event({"content": " more"}), b"data: garbage\n\n")
    assert reading.text == "Hello"


BODIES = {
    "plain": WHOLE,
    "crlf": WHOLE.replace(b"\n", b"\r\n"),
    "cr": WHOLE.replace(b"\n", b"\r"),
    "bom": b"\xef\xbb\xbf" + WHOLE,
    "bom before comments": b"\xef\xbb\xbf: hi\n\n" + WHOLE,
    "blank lines first": b"\n \n\r\n" + WHOLE,
    "no space": WHOLE.replace(b"data: ", b"data:"),
    "no blank line at the end": HELLO + FINISH.rstrip(),
    "bare end marker": HELLO + FINISH + b"data: [DONE]",
    "comments": b": ping\n\n" + HELLO + b":\n\n: pong\n\n" + FINISH,
    "comment in an event": b": x\n" + HELLO + FINISH,
    "id and retry": b"id: 1\nretry: 10\n\n" + HELLO + b"id: 2\n" + FINISH,
    "other event names": b"event: message\n" + HELLO + b"event: chunk\n" + FINISH,
    "ping events": b"event: ping\ndata: {}\n\n" + HELLO + FINISH,
    "empty data": b"data:\n\ndata: \n\n" + HELLO + b"data\n\n" + FINISH,
    "keep-alive as data": b"data: : keepalive\n\n" + HELLO + FINISH,
    "over lines": HELLO.replace(b'"delta"', b'\ndata: "delta"') + FINISH,
    "spaces behind the object": HELLO.replace(b"\n\n", b" \n\n") + FINISH,
    "spaces around the marker": HELLO + FINISH + b"data:   [DONE] \n\n",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("cut", ["whole", "singles"])
def test_framings_that_all_say_the_same(body, cut):
    reading = Reading().end(*([body] if cut == "whole" else singles(body)))
    assert (reading.text, reading.finish) == ("Hello", ["stop"])


@given(st.data())
def test_every_cut_gives_the_same(data):
    texts = data.draw(st.lists(st.text(max_size=8), max_size=5))
    body = b"".join(event({"content": text}) for text in texts) + FINISH + DONE
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    parts = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert Reading().end(*parts).chunks == Reading().end(body).chunks
    assert Reading().end(*parts).text == "".join(texts)


def test_line_separators_of_other_alphabets_are_text():
    text = "a\u2028b\u2029c\x85d\x0be\x1cf"
    body = event({"content": text}) + FINISH
    assert Reading().end(*singles(body)).text == text


def test_invalid_utf8_is_replaced():
    reading = Reading().end(HELLO.replace(b"ll", b"\xff\xc3"), FINISH)
    assert reading.text == "He\ufffd\ufffdo"


@pytest.mark.parametrize(
    "body", [b"", b"\n\n", b" \r\n\t", b"\xef\xbb\xbf", b"\xef\xbb", b": c\n", b"dat"]
)
def test_an_empty_body_gives_nothing(body):
    assert Reading().end(*singles(body)).chunks == []


def test_an_object_is_read_as_it_is():
    reading, source = Reading(), object()
    reading.decoder.read_object({"choices": [{"delta": {"content": "x"}}]}, source, reading.chunks)
    assert reading.text == "x"
    assert reading.chunks[0].raw is source


# Broken events


BROKEN = {
    "no JSON": (b"data: hello\n\n", "an event is not JSON: 'hello'"),
    "cut JSON": (b'data: {"choices": [\n\n', "an event is not JSON"),
    "number": (b"data: 5\n\n", "an event is JSON but no object: '5'"),
    "list": (b"data: []\n\n", "JSON but no object"),
    "null": (b"data: null\n\n", "JSON but no object"),
    "string": (b'data: "x"\n\n', "JSON but no object"),
    "too deep": (b"data: " + b"[" * 100_000 + b"\n\n", "not JSON: '\\[\\["),
    "wrong type": (b'data: {"choices": 5}\n\n', "`choices` is a int"),
    "huge number": (b'data: {"x": ' + b"9" * 5000 + b"}\n\n", "not JSON"),
}


@pytest.mark.parametrize(("body", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_event_raises_behind_what_came_before(body, words):
    error, reading = error_of(HELLO + body + FINISH, kind=StreamProtocolError)
    assert reading.text == "Hello"
    assert reading.finish == []
    with pytest.raises(StreamProtocolError, match=words):
        raise error
    assert 'on_malformed="skip"' in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize(("body", "words"), BROKEN.values(), ids=BROKEN)
def test_a_broken_event_can_be_skipped(body, words):
    reading = Reading(on_malformed="skip").end(HELLO + body + FINISH)
    assert (reading.text, reading.finish) == ("Hello", ["stop"])
    assert reading.quirks == {"malformed_event_skipped"}


def test_on_malformed_is_one_of_two_words():
    with pytest.raises(ValueError, match='on_malformed must be "raise" or "skip", not \'ignore\''):
        Reading(on_malformed="ignore")


def test_a_cut_last_event_is_left_to_the_judgement_of_the_end():
    assert Reading().end(HELLO + FINISH[:-10]).text == "Hello"


def test_a_cut_last_event_may_be_garbage():
    assert Reading().end(HELLO + b"data: garbage").text == "Hello"


def test_keepalives_as_data_are_noted():
    assert Reading().end(b"data: : ping\n\n" + WHOLE).quirks == {"keepalive_as_data"}


# Errors reported by the server


ERRORS = {
    "object": (b'data: {"error": {"message": "m", "code": 500}}\n\n', "m", 500),
    "string": (b'data: {"error": "m"}\n\n', "m", None),
    "event name and object": (b'event: error\ndata: {"message": "m", "code": 500}\n\n', "m", 500),
    "event name and error": (b'event: error\ndata: {"error": {"message": "m"}}\n\n', "m", None),
    "event name and text": (b"event: error\ndata: m\n\n", "m", None),
    "field": (b'error: {"message": "m", "code": 500}\n\n', "m", 500),
    "field with error": (b'error: {"error": {"message": "m"}}\n\n', "m", None),
    "no frame": (b'{"error": {"message": "m", "code": 500}}\n', "m", 500),
    "no frame, detail": (b'{"detail": "m"}\n', "m", None),
    "no line end": (b'{"error": "m"}', "m", None),
    "over lines": (b'{\n  "error": {\n    "message": "m"\n  }\n}\n', "m", None),
    "detail": (b'data: {"detail": "m"}\n\n', "m", None),
}


@pytest.mark.parametrize("cut", ["whole", "singles"])
@pytest.mark.parametrize("before", [b"", HELLO])
@pytest.mark.parametrize(("body", "message", "code"), ERRORS.values(), ids=ERRORS)
def test_errors_in_every_frame(body, message, code, before, cut):
    parts = [before + body] if cut == "whole" else singles(before + body)
    error, reading = error_of(*parts, kind=StreamAPIError)
    assert (error.message, error.code) == (message, code)
    assert reading.text == ("Hello" if before else "")


def test_an_error_whose_quotes_are_not_escaped():
    error, _ = error_of(HELLO + b'data: {"error": "no "model""}\n\n', kind=StreamAPIError)
    assert "no " in error.message


@pytest.mark.parametrize("skip", ["raise", "skip"])
def test_an_error_is_never_skipped(skip):
    body = b'data: {"error": {"message": "m"}}\n\n'
    error_of(body, kind=StreamAPIError, on_malformed=skip)


def test_an_unframed_error_is_told_without_waiting_for_the_end():
    with pytest.raises(StreamAPIError, match="m"):
        Reading().feed(HELLO, b'{"error": "m"}\n')
    with pytest.raises(StreamAPIError, match="m"):
        Reading().feed(b'{"error": ', b'"m"}')


def test_words_between_events_do_no_harm():
    reading = Reading().end(HELLO + b'INFO: working\n\n{"note": 1}\n' + FINISH)
    assert (reading.text, reading.finish) == ("Hello", ["stop"])
    assert reading.quirks == {"text_outside_events"}


NO_BLANK = HELLO.replace(b"\n\n", b"\n") + event({"content": "!"}).replace(b"\n\n", b"\n")


@pytest.mark.parametrize("end", [b"\n", b"", DONE.rstrip(), b"data: {cut"])
def test_events_without_blank_lines_between_are_read(end):
    reading = Reading().end(NO_BLANK + FINISH.rstrip() + b"\n" + end)
    assert (reading.text, reading.finish) == ("Hello!", ["stop"])
    assert reading.quirks == {"events_without_blank_line"}
    assert Reading().end(NO_BLANK + b'data: {"choi').text == "Hello!"


def test_an_event_may_have_several_lines():
    lines = json.dumps(json.loads(HELLO[6:]), indent=1).splitlines()
    body = b"".join(b"data: " + line.encode() + b"\n" for line in lines)
    for end in (b"", b"\n"):
        assert (Reading().end(body + end).text, Reading().end(body).quirks) == ("Hello", set())
    assert Reading().end(body[:-10]).text == ""


def test_nothing_is_read_behind_an_end_marker_without_blank_lines():
    assert Reading().end(NO_BLANK + DONE[:-1] + HELLO).text == "Hello!"


# Bodies that are no stream


def whole_answer(**more):
    choice = {"index": 0, "message": {"role": "assistant", "content": "Hi"}}
    return json.dumps({"choices": [choice | {"finish_reason": "stop"}], **more}).encode()


@pytest.mark.parametrize("cut", ["whole", "singles"])
@pytest.mark.parametrize("indent", [None, 2])
def test_a_whole_answer_in_place_of_a_stream(cut, indent):
    body = json.dumps(json.loads(whole_answer()), indent=indent).encode()
    reading = Reading().end(*([body] if cut == "whole" else singles(body)))
    assert (reading.text, reading.finish) == ("Hi", ["stop"])
    assert reading.quirks == {"answer_not_streamed"}


def test_a_whole_answer_is_read_once_and_at_once():
    reading = Reading().feed(whole_answer())
    assert (reading.text, reading.decoder.done) == ("Hi", True)
    assert reading.end().text == "Hi"


def test_a_large_whole_answer_is_read_at_once_too():
    body = whole_answer(padding="}" * 200_000)
    assert Reading().feed(body[:100_000], body[100_000:]).text == "Hi"


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"object": "list", "data": []}',
        b"[]",
        b"[1, 2]",
        b'{"choices": []}',
        b'{"choices": [{"cut',
        b"{garbage}",
        b"[" * 100_000,
    ],
    ids=lambda body: body[:20].decode(),
)
@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf", b"\r\n"])
def test_other_json_is_no_stream(body, before):
    error, _ = error_of(before + body, kind=StreamProtocolError)
    assert "the answer is no event stream" in str(error)
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    "body", [b"<!DOCTYPE html><html>Log in</html>", b"\n <?xml?>", b"\xef\xbb\xbf<html>"]
)
@pytest.mark.parametrize("cut", ["whole", "singles"])
def test_html_is_no_stream(body, cut):
    error, _ = error_of(*([body] if cut == "whole" else singles(body)), kind=StreamProtocolError)
    assert "HTML or XML" in str(error)
    assert "base_url" in str(error)


@pytest.mark.parametrize("body", [b"Internal Server Error", b"ok\n", b"not: a\nstream: b\n\n"])
def test_text_is_no_stream(body):
    error, _ = error_of(body, kind=StreamProtocolError)
    assert "the answer is no event stream" in str(error)
    assert body.split()[0].decode() in str(error)


# Lines of JSON


def lines_of(*payloads):
    return b"".join(json.dumps(payload).encode() + b"\n" for payload in payloads)


OLLAMA = (
    {"message": {"role": "assistant", "content": "Hel"}, "done": False},
    {"message": {"role": "assistant", "content": "lo"}, "done": True, "done_reason": "stop"},
)
ANTHROPIC = (
    {"type": "message_start", "message": {"role": "assistant", "content": []}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "message_stop"},
)
GEMINI = (
    {"candidates": [{"content": {"parts": [{"text": "Hel"}], "role": "model"}}]},
    {"candidates": [{"content": {"parts": [{"text": "lo"}]}, "finishReason": "STOP"}]},
)


def events_of(*payloads):
    return b"".join(b"data: " + line + b"\n\n" for line in lines_of(*payloads).splitlines())


@pytest.mark.parametrize("dialect", ["ollama", None])
@pytest.mark.parametrize("cut", ["whole", "singles"])
def test_lines_of_json_are_a_stream(dialect, cut):
    body = lines_of(*OLLAMA)
    reading = Reading(dialect).end(*([body] if cut == "whole" else singles(body)))
    assert (reading.text, reading.finish, reading.quirks) == ("Hello", ["stop"], set())
    assert reading.decoder.done


def test_what_is_done_is_not_read_on():
    reading = Reading("ollama").feed(lines_of(*OLLAMA, *OLLAMA))
    assert reading.text == "Hello"
    assert reading.feed(lines_of(*OLLAMA)).end().text == "Hello"
    assert Reading("anthropic").feed(events_of(*ANTHROPIC, *ANTHROPIC)).text == "Hello"


def test_a_broken_line_is_named_or_left_out():
    body = lines_of(OLLAMA[0]) + b"{broken\n" + lines_of(OLLAMA[1])
    with pytest.raises(StreamProtocolError, match=r"a line is no JSON object: .*broken"):
        Reading("ollama").feed(body)
    reading = Reading("ollama", "skip").end(body)
    assert (reading.text, reading.quirks) == ("Hello", {"malformed_event_skipped"})


def test_a_line_that_was_cut_is_no_fault_of_its_own():
    assert Reading("ollama").end(lines_of(*OLLAMA)[:-20]).text == "Hel"


def test_an_error_in_a_line():
    reading = Reading("ollama").feed(lines_of(OLLAMA[0]))
    with pytest.raises(StreamAPIError, match="out of memory"):
        reading.feed(lines_of({"error": "out of memory"}, OLLAMA[1]))
    assert reading.text == "Hello"  # all of it was read


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("cut", ["whole", "singles"])
def test_an_array_is_a_stream(indent, cut):
    body = json.dumps(GEMINI, indent=indent).encode()
    reading = Reading("gemini").end(*([body] if cut == "whole" else singles(body)))
    assert (reading.text, reading.finish) == ("Hello", ["stop"])


# Which dialect it is


@pytest.mark.parametrize(
    "payloads", [OLLAMA, ANTHROPIC, GEMINI], ids=["ollama", "anthropic", "gemini"]
)
@pytest.mark.parametrize("framed", [events_of, lines_of])
def test_the_form_is_told_by_the_first_object(payloads, framed):
    reading = Reading(None).end(framed(*payloads))
    assert (reading.text, reading.finish) == ("Hello", ["stop"])


@pytest.mark.parametrize(
    ("dialect", "body", "spoken"),
    [
        ("openai", events_of(*ANTHROPIC), "anthropic"),
        ("openai", events_of(*GEMINI), "gemini"),
        ("openai", lines_of(*OLLAMA), "ollama"),
        ("openai", events_of({"choices": [{"text": "x"}]}), "completions"),
        ("anthropic", HELLO, "openai"),
        ("gemini", b"event: ping\ndata: {}\n\n" + HELLO, "openai"),
        ("responses", HELLO, "openai"),
        ("ollama", HELLO, "openai"),
    ],
)
@pytest.mark.parametrize("on_malformed", ["raise", "skip"])
def test_a_stream_in_another_dialect_is_told_by_name(dialect, body, spoken, on_malformed):
    words = rf"is in the '{spoken}' dialect, and is read in '{dialect}': .* dialect='{spoken}'"
    with pytest.raises(StreamProtocolError, match=words):
        Reading(dialect, on_malformed).end(body)


def test_what_nobody_knows_is_no_mismatch():
    reading = Reading("openai").end(events_of({"type": "warming_up"}) + HELLO + FINISH)
    assert reading.text == "Hello"


# Limits


def test_a_large_event_is_read():
    text = "x" * 5_000_000
    body = event({"content": text}) + FINISH
    parts = [body[at : at + 65_536] for at in range(0, len(body), 65_536)]
    assert Reading().end(*parts).text == text


@pytest.mark.parametrize(
    ("limits", "body", "words"),
    [
        ({"event": 100}, b"data: " + b"x" * 200, r"limit of 100; .* Limits\(event="),
        ({"event": 100}, b'{"x": "' + b"x" * 200, r"limit of 100; .* Limits\(event="),
        ({"response": 100}, WHOLE * 5, r"larger than 100 bytes; .* Limits\(response="),
        ({"response": 100}, b'{"x": "' + b"x" * 200, "larger than 100 bytes"),
    ],
)
def test_limits(limits, body, words):
    with pytest.raises(StreamProtocolError, match=words):
        Reading(**limits).end(*(body[at : at + 50] for at in range(0, len(body), 50)))


def test_no_limits():
    assert Reading(event=None, response=None).end(whole_answer()).text == "Hi"
    assert Reading(event=None, response=None).end(WHOLE).text == "Hello"
