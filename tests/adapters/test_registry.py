"""Kinds of items and dialects that users add."""

from dataclasses import dataclass

import pytest

from llm_kit import (
    Chunk,
    StreamCollector,
    StreamProcessor,
    StreamProtocolError,
    normalize,
    register_adapter,
)
from llm_kit.adapters import registry
from llm_kit.dialects import DIALECTS, recognise
from llm_kit.dialects.openai import OpenAIDialect


@pytest.fixture(autouse=True)
def _forgotten_afterwards(monkeypatch):
    monkeypatch.setattr(registry, "_adapters", [])
    before = dict(DIALECTS)
    yield
    DIALECTS.clear()
    DIALECTS.update(before)


@dataclass
class Event:
    text: str
    last: bool = False


class Special(Event):
    pass


class Words:
    """A dialect as a user writes it, with no base class."""

    name = "words"

    def __init__(self, quirks):
        self.done = False
        self.quirks = quirks

    @staticmethod
    def recognises(payload):
        return "word" in payload

    def read(self, payload, out, raw):
        self.done = payload.get("last", False)
        out.append(Chunk(payload["word"], finish_reason="stop" if self.done else None, raw=raw))


def test_text_of_an_object(colour):
    register_adapter(Event, lambda event: event.text)
    stream = normalize(colour.source([Event("a"), Special("b")]))
    assert "".join(chunk.delta for chunk in colour.each(stream)) == "ab"
    assert stream.result.status == "complete"  # text has no other way to say so


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (lambda event: b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n', "xx"),
        (lambda event: Chunk(event.text, finish_reason="stop"), "ab"),
        (lambda event: {"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}, "xx"),
        (lambda event: [event.text, event.text], "aabb"),
        (lambda event: (event.text, None), "ab"),
        (lambda event: None if event.last else event.text, "a"),
    ],
    ids=["bytes", "chunk", "dict", "list", "tuple", "nothing"],
)
def test_what_an_adapter_may_give(given, text):
    register_adapter(Event, given)
    processor = StreamProcessor()
    processor.process(Event("a"))
    processor.process(Event("b", last=True))
    assert processor.content == text


def test_a_function_may_tell_what_an_adapter_reads():
    register_adapter(lambda item: hasattr(item, "text"), lambda item: item.text)
    assert StreamCollector.to_string([Event("a")]) == "a"


def test_the_last_one_registered_is_asked_first():
    register_adapter(Event, lambda event: "old")
    register_adapter(Special, lambda event: "new")
    assert StreamCollector.to_string([Event(""), Special("")]) == "oldnew"


def test_what_is_built_in_can_be_replaced():
    register_adapter(str, lambda text: Chunk(text.upper(), finish_reason="stop"))
    assert StreamCollector.to_string(["a"]) == "A"


def test_an_adapter_that_gives_its_item_back_is_a_mistake():
    register_adapter(Event, lambda event: event)
    with pytest.raises(StreamProtocolError, match="Event, which its adapter gives as it is"):
        StreamCollector.to_string([Event("a")])


WORDS = [{"word": "a"}, {"word": "b", "last": True}]


def test_a_dialect_of_ones_own_may_be_given_as_a_class():
    assert StreamCollector.to_string(normalize(WORDS, dialect=Words)) == "ab"
    with pytest.raises(StreamProtocolError, match="a dict with word"):
        StreamCollector.to_string(normalize(WORDS))


def test_a_registered_dialect_is_recognised_and_has_a_name():
    register_adapter(Words)
    assert StreamCollector.to_string(normalize(WORDS)) == "ab"
    assert StreamCollector.to_string(normalize(WORDS, dialect="words")) == "ab"
    body = b'{"word": "a"}\n{"word": "b", "last": true}\n'
    assert StreamCollector.to_string(normalize([body])) == "ab"


def test_a_dialect_replaces_the_one_of_its_name():
    class Mine(OpenAIDialect):
        pass

    register_adapter(Mine)
    assert DIALECTS["openai"] is Mine


def test_a_dialect_is_asked_before_those_that_were_there():
    class Vendors(Words):
        name = "vendors"

    register_adapter(Words)
    register_adapter(Vendors)
    register_adapter(Words)  # again: now it is the last one
    payload = {"word": "x", "choices": [{"delta": {"content": "theirs"}}]}
    assert recognise(payload) is Words
    assert recognise({"choices": payload["choices"]}) is OpenAIDialect


def test_the_name_of_a_built_in_dialect_is_not_taken_by_another():
    class Other(Words):
        name = "openai"

    with pytest.raises(ValueError, match=r"'openai' is taken: .* a subclass of OpenAIDialect"):
        register_adapter(Other)
    assert DIALECTS["openai"] is OpenAIDialect


class Nameless(Words):
    name = ""


@pytest.mark.parametrize(
    "wrong", [(Words(set()),), (Nameless,), (Event,), (Event, "text"), ("Event", len)]
)
def test_mistakes_are_told_at_the_call(wrong):
    with pytest.raises(TypeError, match="register_adapter"):
        register_adapter(*wrong)
