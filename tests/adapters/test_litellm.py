"""LiteLLM's stream, of which one class serves both colours."""

from functools import partial
from types import SimpleNamespace

import pytest

from llm_kit import AsyncChatStream, ChatStream, StreamTruncatedError, normalize
from llm_kit.adapters.litellm import is_async, without_invented_end

ENDED = {"id": "1", "choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}


class Sync:
    def __init__(self, items=()):
        self._items = iter(items)

    def __iter__(self):
        return self._items


class Async:
    def __aiter__(self):
        raise AssertionError("nobody reads this")


class Both(Sync, Async):
    """Has the methods of both colours, and what is behind it in its fields."""

    def __init__(self, items=(), **fields):
        super().__init__(items)
        vars(self).update(fields)


def make():
    return Sync()


async def amake():
    return Async()


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (Sync(), False),
        (Async(), True),
        (object(), False),
        (Both(completion_stream=Sync()), False),
        (Both(completion_stream=Async()), True),
        (Both(completion_stream=Both(streaming_response=Sync())), False),
        (Both(completion_stream=Both(streaming_response=Async())), True),
        (Both(completion_stream=None, make_call=partial(make)), False),
        (Both(completion_stream=None, make_call=partial(amake)), True),
        (Both(), True),
    ],
)
def test_the_colour_is_that_of_what_is_behind(stream, expected):
    assert is_async(stream) is expected
    if hasattr(stream, "__iter__") or hasattr(stream, "__aiter__"):
        assert isinstance(normalize(stream), AsyncChatStream if expected else ChatStream)


def stream_of(**fields):
    known = {"received_finish_reason": None, "intermittent_finish_reason": None}
    return SimpleNamespace(**known | {"completion_stream": Sync()} | fields)


async def amock():
    yield  # pragma: no cover


@pytest.mark.parametrize(
    "stream",
    [
        None,
        stream_of(received_finish_reason="stop"),
        stream_of(intermittent_finish_reason="stop"),
        stream_of(completion_stream=(each for each in ())),
        stream_of(completion_stream=amock()),
    ],
    ids=["another", "received", "received in between", "mock", "async mock"],
)
def test_an_end_that_was_received_stays(stream):
    assert without_invented_end(ENDED, stream) is ENDED


def test_an_end_that_was_made_up_is_left_out():
    payload = without_invented_end(ENDED, stream_of())
    assert payload["choices"] == [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]
    assert ENDED["choices"][0]["finish_reason"] == "stop"
    assert payload["id"] == "1"


class Model:
    """A chunk of LiteLLM's."""

    def model_dump(self, **_):
        return ENDED


def test_a_cut_answer_is_no_whole_one():
    with pytest.raises(StreamTruncatedError) as caught:
        list(normalize(Both([Model()], **vars(stream_of()))))
    assert caught.value.partial.content == "Hi"
