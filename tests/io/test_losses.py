"""Other libraries' network errors become ours, by the names of their classes."""

import httpx
import httpx2
import openai
import pytest

from llm_kit import (
    APIConnectionError,
    APIStatusError,
    StreamAPIError,
    StreamProtocolError,
    StreamTimeoutError,
    StreamTruncatedError,
)
from llm_kit._io.losses import translate

REQUEST = httpx.Request("POST", "http://host/", headers={"authorization": "Bearer sk-secret"})


@pytest.mark.parametrize("package", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize(
    ("name", "opened", "kind"),
    [
        ("ConnectTimeout", False, "connect"),
        ("PoolTimeout", False, "connect"),
        ("ReadTimeout", False, "first_chunk"),
        ("WriteTimeout", False, "first_chunk"),
        ("ReadTimeout", True, "idle"),
    ],
)
def test_timeouts(package, name, opened, kind):
    error = getattr(package, name)("slow")
    ours = translate(error, opened=opened)
    assert type(ours) is StreamTimeoutError
    assert ours.kind == kind
    assert ours.__cause__ is error


@pytest.mark.parametrize("package", [httpx, httpx2], ids=["httpx", "httpx2"])
@pytest.mark.parametrize("name", ["ConnectError", "ReadError", "RemoteProtocolError", "ProxyError"])
@pytest.mark.parametrize(
    ("opened", "ours"), [(False, APIConnectionError), (True, StreamTruncatedError)]
)
def test_losses(package, name, opened, ours):
    error = translate(getattr(package, name)("gone"), opened=opened)
    assert type(error) is ours
    assert f"{name}: gone" in str(error)


def test_too_many_redirects():
    assert type(translate(httpx.TooManyRedirects("5"), opened=False)) is APIConnectionError


def test_a_header_that_cannot_be_sent_is_not_quoted():
    error = translate(httpx.LocalProtocolError("Illegal header value b'sk-secret'"), opened=False)
    assert type(error) is ValueError  # the caller's mistake: another try would not help
    assert str(error).startswith("a header of the request can't be sent; check headers and api_key")
    assert "sk-secret" not in str(error)
    assert error.__cause__ is None
    assert error.__suppress_context__


def test_a_body_that_is_wrongly_encoded():
    error = translate(httpx.DecodingError("not gzip"), opened=True)
    assert type(error) is StreamProtocolError
    assert "not gzip" in str(error)


@pytest.mark.parametrize("error", [httpx.StreamConsumed(), httpx.StreamClosed()])
def test_a_response_that_was_read_before(error):
    assert "unread" in str(translate(error, opened=True))


def test_an_sdks_report_of_an_error():
    error = openai.APIError(
        "the model failed", REQUEST, body={"message": "overloaded", "code": 529}
    )
    ours = translate(error, opened=True)
    assert type(ours) is StreamAPIError
    assert (ours.message, ours.code) == ("overloaded", 529)
    assert "the words" in str(
        translate(openai.APIError("the words", REQUEST, body=None), opened=True)
    )


def test_an_sdks_losses():
    assert translate(openai.APITimeoutError(REQUEST), opened=True).kind == "idle"
    lost = openai.APIConnectionError(message="gone", request=REQUEST)
    assert type(translate(lost, opened=True)) is StreamTruncatedError


def test_anthropics_errors_are_told_by_name():
    base = type("AnthropicError", (Exception,), {})
    kind = type("APIError", (base,), {})
    assert type(translate(kind("overloaded"), opened=True)) is StreamAPIError


@pytest.mark.parametrize("package", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_a_hook_that_raises_for_the_status(package):
    request = package.Request("POST", "http://h", headers={"authorization": "Bearer sk-x"})
    response = package.Response(429, headers={"Retry-After": "2"}, request=request)
    with pytest.raises(package.HTTPStatusError) as caught:
        response.raise_for_status()
    error = translate(caught.value, opened=False)
    assert (type(error), error.status_code, error.retry_after) == (APIStatusError, 429, 2.0)
    assert caught.value.__dict__["_request"] is None


def test_an_error_of_a_ring_is_looked_at_once():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert translate(first, opened=True) is first


def test_other_errors_are_the_users_own():
    error = ValueError("mine")
    assert translate(error, opened=True) is error


def test_no_cause_keeps_the_request_with_the_key():
    inner = httpx.ReadError("inner", request=REQUEST)
    outer = httpx.ReadError("outer", request=REQUEST)
    outer.__context__ = inner
    translate(outer, opened=True)
    assert vars(outer)["_request"] is vars(inner)["_request"] is None
    sdk = openai.APIConnectionError(message="gone", request=REQUEST)
    translate(sdk, opened=True)
    assert sdk.request is None
