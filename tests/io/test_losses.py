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


class Head:
    status_code, headers = 429, {"Retry-After": "2"}


def sdk_error(name, package, **values):
    """An error as an SDK raises it, told by the name of its class and of its package."""
    base = type("Exception", (Exception,), {"__module__": f"{package}.errors"})
    error = type(name, (base,), {"__module__": f"{package}.errors"})("its words")
    vars(error).update(values)
    return error


REFUSED = {"error": {"message": "slow down"}}


@pytest.mark.parametrize(
    "error",
    [
        sdk_error("APIError", "google", response=Head(), details=REFUSED),
        sdk_error("ApiError", "cohere", status_code=429, headers=Head.headers, body=REFUSED),
        openai.RateLimitError(
            "no",
            response=httpx.Response(429, headers=Head.headers, request=REQUEST),
            body={"message": "slow down"},
        ),
    ],
    ids=["google", "cohere", "openai"],
)
def test_an_sdk_that_asks_when_it_is_read_is_refused(error):
    ours = translate(error, opened=True)
    assert type(ours) is APIStatusError
    assert (ours.status_code, ours.retry_after) == (429, 2.0)
    assert "slow down" in str(ours)
    assert ours.__cause__ is error


def test_ollamas_refusal_has_no_headers():
    ours = translate(
        sdk_error("ResponseError", "ollama", status_code=404, error="no model"), opened=True
    )
    assert (type(ours), ours.status_code, ours.body) == (APIStatusError, 404, "no model")


@pytest.mark.parametrize(
    "error",
    [
        sdk_error("ResponseError", "ollama", status_code=-1, error="boom"),
        sdk_error("APIError", "google", code=502, details={"error": {"message": "boom"}}),
        sdk_error("ApiError", "cohere", body="boom"),
    ],
    ids=["ollama", "google", "cohere"],
)
def test_an_sdks_report_inside_of_an_answer(error):
    ours = translate(error, opened=True)
    assert (type(ours), ours.message) == (StreamAPIError, "boom")


def test_an_error_of_the_same_name_may_be_the_users():
    for name in ("APIError", "ApiError", "ResponseError", "ProtocolError"):
        error = sdk_error(name, "mine", status_code=404)
        assert translate(error, opened=True) is error


def test_what_litellm_says_in_its_own_words():
    lost = sdk_error("MidStreamFallbackError", "litellm")
    lost.__context__ = httpx.ReadError("gone")
    ours = translate(lost, opened=True)
    assert type(ours) is StreamTruncatedError
    assert "ReadError: gone" in str(ours)
    assert ours.__cause__ is lost
    reported = sdk_error("MidStreamFallbackError", "litellm")
    reported.__context__ = openai.APIError("boom", REQUEST, body={"message": "boom"})
    assert type(translate(reported, opened=True)) is StreamAPIError
    other = sdk_error("BudgetExceededError", "litellm")
    assert translate(other, opened=True) is other
    other.__context__ = KeyError("x")
    assert translate(other, opened=True) is other


@pytest.mark.parametrize(
    ("package", "name", "ours"),
    [
        ("aiohttp", "ClientPayloadError", StreamTruncatedError),
        ("requests.exceptions", "ChunkedEncodingError", StreamTruncatedError),
        ("aiohttp", "ServerDisconnectedError", StreamTruncatedError),
        ("aiohttp", "ServerTimeoutError", StreamTimeoutError),
        ("urllib3.exceptions", "ProtocolError", StreamTruncatedError),
        ("urllib3.exceptions", "DecodeError", StreamProtocolError),
        ("requests.exceptions", "StreamConsumedError", StreamProtocolError),
    ],
)
def test_losses_of_requests_urllib3_and_aiohttp(package, name, ours):
    error = getattr(pytest.importorskip(package), name)("gone")
    assert type(translate(error, opened=True)) is ours


def over_aiohttp(name, *aiohttps):
    """An error of httpx, with one behind it whose classes have these names in aiohttp."""
    error = getattr(httpx, name)("in httpx's words")
    error.__cause__ = aiohttp_error(*aiohttps)
    return error


def aiohttp_error(*names):
    kind = Exception
    for name in reversed(names):
        kind = type(name, (kind,), {"__module__": "aiohttp.client_exceptions"})
    return kind("in its own")


@pytest.mark.parametrize(
    ("httpxs", "aiohttps", "base", "opened"),
    [
        ("ConnectTimeout", "ServerDisconnectedError", "ClientConnectionError", False),
        ("ConnectTimeout", "ClientOSError", "ClientConnectionError", False),
        ("ConnectError", "ClientConnectorError", "ClientConnectionError", False),
        ("ConnectTimeout", "ClientOSError", "ClientConnectionError", True),
        ("ReadError", "ClientPayloadError", "ClientError", True),
    ],
    ids=["closed", "reset", "refused", "lost", "cut"],
)
def test_losses_over_the_aiohttp_transport_are_what_aiohttp_says(httpxs, aiohttps, base, opened):
    error = over_aiohttp(httpxs, aiohttps, base)
    ours = translate(error, opened=opened)
    assert type(ours) is (StreamTruncatedError if opened else APIConnectionError)
    assert f"{aiohttps}: in its own" in str(ours)
    assert ours.__cause__ is error


@pytest.mark.parametrize(
    ("httpxs", "aiohttps", "opened", "kind"),
    [
        ("ConnectTimeout", "ConnectionTimeoutError", False, "connect"),
        ("ReadTimeout", "SocketTimeoutError", False, "first_chunk"),
        ("ReadTimeout", "SocketTimeoutError", True, "idle"),
    ],
)
def test_timeouts_over_the_aiohttp_transport(httpxs, aiohttps, opened, kind):
    error = over_aiohttp(httpxs, aiohttps, "ServerTimeoutError", "ClientConnectionError")
    ours = translate(error, opened=opened)
    assert (type(ours), ours.kind) == (StreamTimeoutError, kind)
    assert aiohttps in str(ours)


def test_what_aiohttp_says_and_we_do_not_know_is_what_httpx_calls_it():
    error = over_aiohttp("UnsupportedProtocol", "InvalidUrlClientError", "ClientError")
    assert "UnsupportedProtocol: in httpx's words" in str(translate(error, opened=False))


def test_an_error_of_the_user_s_own_that_came_of_aiohttp_s_is_theirs():
    error = KeyError("of a generator that reads with aiohttp")
    error.__cause__ = aiohttp_error("ClientPayloadError", "ClientError")
    assert translate(error, opened=True) is error


def test_what_is_no_http_to_aiohttp():
    error = aiohttp_error("ClientResponseError", "ClientError")
    assert translate(error, opened=False) is error  # a user's own raise_for_status, say
    error.__cause__ = aiohttp_error("BadStatusLine", "BadHttpMessage")
    ours = translate(error, opened=False)
    assert type(ours) is APIConnectionError
    assert ours.__cause__ is error


def test_a_read_timeout_of_urllib3():
    urllib3 = pytest.importorskip("urllib3")
    error = urllib3.exceptions.ReadTimeoutError(None, "", "slow")
    assert translate(error, opened=True).kind == "idle"


def test_a_wrong_encoding_that_is_only_the_cause():
    error = ValueError("payload")  # as aiohttp puts it
    error.__cause__ = type("ContentEncodingError", (Exception,), {})("not gzip")
    assert type(translate(error, opened=True)) is StreamProtocolError


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
