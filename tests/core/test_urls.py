"""URLs: what is refused, how they are put together, and what is not shown of them."""

import pytest

from llm_kit._core.urls import checked_url, joined_url, secrets_in_url, shown_url


@pytest.mark.parametrize(
    "url", ["http://h", "https://h:8000/v1", "http://[::1]:8000/v1", "http://u:p@h/v1?a=b"]
)
def test_what_may_be_the_base_of_an_api(url):
    assert checked_url(url) == url


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (None, ValueError),
        (5, TypeError),
        ("", ValueError),
        ("localhost:8000/v1", ValueError),
        ("ftp://h/v1", ValueError),
        ("http:///v1", ValueError),
        ("http://h:abc/v1", ValueError),
        ("http://h:99999/v1", ValueError),
        ("http://h:0/v1", ValueError),
        ("http://a b/v1", ValueError),
        ("http://[::1/v1", ValueError),
    ],
)
def test_what_may_not(url, error):
    with pytest.raises(error, match="base_url") as caught:
        checked_url(url)
    assert type(caught.value) is error


def test_a_refusal_does_not_show_the_password():
    with pytest.raises(ValueError, match="base_url") as caught:
        checked_url("ftp://me:secret@h/v1?key=secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@h:1/v1?key=secret#x", "https://h:1/v1"),
        ("/v1/x?key=secret", "/v1/x"),
        ("http://[bad", "(no URL)"),
        ("", ""),
    ],
)
def test_shown(url, shown):
    assert shown_url(url) == shown


def test_secrets():
    assert set(secrets_in_url("https://me:pass@h?key=one&flag&b=c=")) == {"pass", "one", "", "c="}
    assert set(secrets_in_url("https://h/v1")) == {""}


def test_secrets_are_known_as_they_stand_there_and_decoded():
    # The password's plus is one; in a query it may be a blank.
    given = secrets_in_url("https://me:p%40+@h/v1?key=two%2Bthree+four")
    expected = {"p%40+", "p@+", "two%2Bthree+four", "two+three+four", "two+three four"}
    assert expected <= set(given)


@pytest.mark.parametrize(
    ("base", "whole"),
    [
        ("http://h", "http://h/chat"),
        ("http://h/v1/", "http://h/v1/chat"),
        ("http://h/v1/chat", "http://h/v1/chat"),
        ("http://h/v1?a=b", "http://h/v1/chat?a=b"),
    ],
)
def test_joined(base, whole):
    assert joined_url(base, "/chat") == whole


@pytest.mark.parametrize(
    ("base", "whole"),
    [
        ("http://h", "http://h/v1/chat?alt=sse"),
        ("http://h/", "http://h/v1/chat?alt=sse"),
        ("http://h/api/", "http://h/api/chat?alt=sse"),
        ("http://h?key=x", "http://h/v1/chat?alt=sse&key=x"),
    ],
)
def test_joined_with_a_root_and_a_query_of_the_path(base, whole):
    assert joined_url(base, "/chat?alt=sse", "/v1") == whole
