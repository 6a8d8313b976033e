"""An answer that is no success, to the error that says what to do."""

import json

import pytest

from llm_kit import APIStatusError, ResponseInfo
from llm_kit._core.status import retry_after, status_error


def error_of(status, body="", request_id=None, **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return status_error(ResponseInfo(status, named, request_id), body)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "correct the request"),
        (401, "check the api_key"),
        (403, "check what the api_key may do"),
        (404, "check base_url"),
        (422, "correct the request"),
        (429, "wait before you ask again"),
        (500, "may be sent again"),
        (503, "may be sent again"),
    ],
)
def test_the_status_says_what_to_do(status, advice):
    error = error_of(status, '{"error": {"message": "the words"}}', "req-1")
    assert isinstance(error, APIStatusError)
    assert str(error).startswith(f"the server answered {status}: the words; ")
    assert advice in str(error)
    assert (error.status_code, error.request_id) == (status, "req-1")


@pytest.mark.parametrize(
    ("headers", "where"),
    [
        ({"location": "https://me:secret@h/v1?key=secret"}, "'https://h/v1'"),
        ({"location": "http://127.0.0.1:9/v1"}, "'http://127.0.0.1:9/v1'"),
        ({}, "''"),
    ],
)
def test_a_redirect_is_told_with_its_goal(headers, where):
    error = error_of(307, "<html>", **headers)
    assert f"redirected to {where}; redirects are not followed" in str(error)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"error": {"message": "m", "code": 500}}', "m"),
        ('{"error": {"code": 429, "message": "m", "type": "t", "param": null}}', "m"),
        ('{"error": "m"}', "m"),
        ('{"message": "m"}', "m"),
        ('{"detail": "m"}', "m"),
        ('{"detail": [{"loc": ["body"], "msg": "m"}]}', "[{'loc': ['body'], 'msg': 'm'}]"),
        ('{"error": {"error": {"message": "m"}}}', "m"),
        ('{"error": null, "message": "m"}', "m"),
        ('{"error": 5}', "5"),
        ("{}", "no message"),
        ('{"x": 1}', "no message"),
        ("null", "no message"),
        ("", "no message"),
        ("   ", "no message"),
        ("Internal Server Error", "Internal Server Error"),
        ("<html>\n <h1>502</h1>\n</html>", "<html> <h1>502</h1> </html>"),
        ('["m"]', "['m']"),
        ('"m"', "m"),
        ("[" * 100_000, "[" * 299 + "…"),
        ('{"error": {"message": "' + "x" * 400 + '"}}', "x" * 299 + "…"),
        ('{"error": {"message": "' + "x" * 300 + '"}}', "x" * 300),
    ],
)
def test_the_words_of_every_shape_of_body(body, words):
    error = error_of(500, body)
    assert str(error).startswith(f"the server answered 500: {words}; ")
    assert error.body == body[:4000]


def test_a_long_body_is_cut():
    assert len(error_of(500, json.dumps({"error": "x" * 9000})).body) == 4000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after-ms": "x", "retry-after": "3"}, 3.0),
        ({"retry-after-ms": "250"}, 0.25),
        (
            {
                "retry-after": "Fri, 20 Nov 2026 10:00:30 GMT",
                "date": "Fri, 20 Nov 2026 10:00:00 GMT",
            },
            30.0,
        ),
        (
            {
                "retry-after": "Fri, 20 Nov 2026 09:00:00 GMT",
                "date": "Fri, 20 Nov 2026 10:00:00 GMT",
            },
            0.0,
        ),
        ({"retry-after": "Fri, 20 Nov 2026 10:00:30 GMT"}, None),
        (
            {
                "retry-after": "Fri, 20 Nov 2026 10:00:30 -0000",
                "date": "Fri, 20 Nov 2026 10:00:00 GMT",
            },
            None,
        ),
    ],
)
def test_how_long_to_wait(headers, seconds):
    assert retry_after(headers) == seconds
    error = status_error(ResponseInfo(429, headers, None), "")
    assert error.retry_after == seconds
    told = "" if seconds is None else f", not sooner than in {seconds:g} s"
    assert str(error).endswith(f"; wait before you ask again{told}")
