"""An HTTP answer of 300 or more -> the error that says what happened and what to do."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from llm_kit._core.urls import shown_url
from llm_kit.errors import APIStatusError
from llm_kit.types import ResponseInfo

_KEPT_BODY = 4000  # characters of an error's body that the error keeps

_ADVICE = {
    401: "check the api_key",
    403: "check what the api_key may do",
    404: "check base_url (it usually ends in /v1) and the model's name",
    429: "wait before you ask again",
}


def status_error(info: ResponseInfo, body: str) -> APIStatusError:
    """Make the error for an answer whose status is no success."""
    status = info.status_code
    said = _message(body) or "no message"
    if 300 <= status < 400:
        said = f"redirected to {shown_url(info.headers.get('location', ''))!r}"
        advice = (
            "redirects are not followed, because the key would go along: give the final base_url,"
            " or an http_client that follows them"
        )
    elif status >= 500:
        advice = "the server failed; the request may be sent again"
    else:
        advice = _ADVICE.get(status, "correct the request")
    wait = retry_after(info.headers, info.received_at)
    if wait is not None:
        advice += f", not sooner than in {wait:g} s"
    return APIStatusError(
        f"the server answered {status}: {said}; {advice}",
        status_code=status,
        body=body[:_KEPT_BODY],
        request_id=info.request_id,
        retry_after=wait,
    )


def _message(body: str) -> str:
    """Find the words in an error's body; every server has a shape of its own."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = body
    while isinstance(value, Mapping):
        value = value.get("error") or value.get("detail") or value.get("message")
    text = " ".join(str(value or "").split())
    return text if len(text) <= 300 else text[:299] + "…"


def retry_after(headers: Mapping[str, str], received_at: float | None = None) -> float | None:
    """
    Read how many seconds the server asks to wait, None if it does not say so legibly.

    ``Retry-After`` is a number of seconds or a date (RFC 9110, 10.2.3), the date being
    taken relative to the answer's own ``Date``, by the server's clock, or else to our own
    ``received_at``; ``retry-after-ms`` is OpenAI's addition.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return seconds
    then, now = _moment(value), _moment(headers.get("date", ""))
    if now is None:
        now = received_at
    return None if then is None or now is None else max(0.0, then - now)


def _moment(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError):
        return None
    return moment.timestamp() if moment.tzinfo else None


def _number(text: str | None) -> float | None:
    try:
        number = float(text if text and text.isascii() else "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
