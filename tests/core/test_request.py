"""The request: its JSON, what it hides, and what is left out of it when a server refuses it."""

import pytest

from llm_kit import Recovery
from llm_kit._core.request import Request
from llm_kit._core.session import Open
from llm_kit.dialects.openai import OpenAIDialect


def request(url, headers, body):
    return Request(url, headers, body, OpenAIDialect)


URL = "http://127.0.0.1:1/v1/chat/completions"


def test_the_request_as_json():
    made = request(URL, {}, {"text": "größe\u2028", "n": 1})
    assert made.content() == '{"text":"größe\u2028","n":1}'.encode()


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", float("nan"), float("inf"), 1j])
def test_what_is_no_json_is_refused(value):
    with pytest.raises(TypeError, match=r"can't be written as JSON: .* must be plain dicts"):
        request(URL, {}, {"value": value}).content()


@pytest.mark.parametrize("text", ["\ud800", "ok \udcff"])
def test_half_characters_are_refused(text):
    with pytest.raises(ValueError, match="not valid Unicode") as caught:
        request(URL, {}, {"text": text}).content()
    assert type(caught.value) is ValueError


def test_a_ring_is_refused():
    ring = []
    ring.append(ring)
    with pytest.raises(TypeError, match="can't be written as JSON"):
        request(URL, {}, {"ring": ring}).content()


def test_what_is_too_deep_is_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TypeError, match="can't be written as JSON"):
        request(URL, {}, {"deep": deep}).content()


def test_what_is_secret_is_not_shown():
    made = request(URL, {"x-key": "hidden"}, {"messages": "hidden"})
    assert "hidden" not in repr(Open(made))


def test_a_field_is_left_out():
    made = request(URL, {"x": "y"}, {"n": 1, "stream_options": {}})
    assert made.without("stream_options") == request(URL, {"x": "y"}, {"n": 1})
    assert made.without(None) == made.without("x") == made
    assert "stream_options" in made.body


@pytest.mark.parametrize(
    ("status", "words", "body", "refused"),
    [
        (400, "unknown: stream_options", {"stream_options": {}}, "stream_options"),
        (422, "stream_options?", {"stream_options": {}}, "stream_options"),
        (400, "no such model", {"stream_options": {}}, None),
        (500, "stream_options", {"stream_options": {}}, None),
        (400, "stream_options", {}, None),
    ],
)
def test_what_a_server_refuses(status, words, body, refused):
    assert request(URL, {}, body).refused_option(status, words) == refused


def test_a_request_goes_on_in_its_own_dialect():
    made = request(URL, {"x": "y"}, {"messages": [{"role": "user", "content": "Hi"}]})
    assert made.can_be_continued
    again, left_out = made.continued("Hel ", Recovery("continue", instruction="Go on."))
    assert [message["content"] for message in again.body["messages"]] == ["Hi", "Hel ", "Go on."]
    assert (again.url, again.headers, left_out) == (URL, {"x": "y"}, "")
    assert len(made.body["messages"]) == 1


def test_what_must_be_whole_json_does_not_go_on():
    body = {"messages": [], "response_format": {"type": "json_object"}}
    assert not request(URL, {}, body).can_be_continued
