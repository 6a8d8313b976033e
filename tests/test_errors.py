"""The tree of errors: who is whose child, what each carries, and that all of them pickle."""

import pickle

import pytest

from llm_kit import (
    APIConnectionError,
    APIStatusError,
    LLMKitError,
    StreamAPIError,
    StreamError,
    StreamInterrupted,
    StreamProtocolError,
    StreamResult,
    StreamTimeoutError,
    StreamTruncatedError,
    errors,
)

ERRORS = [
    APIConnectionError("gone"),
    APIStatusError("no", status_code=429, body="{}", request_id="r", retry_after=2.0),
    StreamTruncatedError("cut"),
    StreamTimeoutError("slow", kind="first_chunk"),
    StreamAPIError("boom", code="502", type="server"),
    StreamProtocolError("html"),
    StreamInterrupted("stop", reason="user"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_pickle_whole(error):
    error.partial = StreamResult(content="so far")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)
    assert copy.partial.content == "so far"
    assert isinstance(error, LLMKitError)


def test_the_tree():
    inside = {StreamTruncatedError, StreamTimeoutError, StreamAPIError, StreamProtocolError}
    assert set(StreamError.__subclasses__()) == inside | {StreamInterrupted}
    assert set(LLMKitError.__subclasses__()) == {APIConnectionError, APIStatusError, StreamError}
    assert issubclass(StreamTimeoutError, TimeoutError)
    for name in (cls.__name__ for cls in type(ERRORS[0]).__mro__[:2]):
        assert name in errors.__doc__


def test_an_error_without_a_stream_has_an_empty_partial():
    assert APIConnectionError("gone").partial == StreamResult()


@pytest.mark.parametrize(
    ("code", "status"),
    [(502, 502), ("429", 429), ("rate_limited", None), (None, None), (7, None), ("1e3", None)],
)
def test_status_code_of_an_error_in_the_stream(code, status):
    error = StreamAPIError("boom", code=code)
    assert (error.code, error.status_code) == (code, status)
