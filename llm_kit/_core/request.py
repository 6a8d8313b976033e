"""A request, before it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen


@frozen
class Request:
    """What to send: the key is not in it, it is asked for when the request goes out."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)

    def without(self, name: str | None) -> Request:
        """Leave a field of the body out."""
        return evolve(self, body={key: self.body[key] for key in self.body if key != name})

    def content(self) -> bytes:
        """
        Give the body as it goes over the wire.

        Raises:
            TypeError, ValueError: something in it can't be written as JSON.
        """
        try:
            return json.dumps(
                self.body, ensure_ascii=False, separators=(",", ":"), allow_nan=False
            ).encode()
        except UnicodeEncodeError as error:
            raise ValueError(
                f"the request has text that is not valid Unicode (half a surrogate pair:"
                f" {error.object[error.start : error.end]!r}); repair it where it was cut"
            ) from None
        except (TypeError, ValueError, RecursionError) as error:
            raise TypeError(
                f"the request can't be written as JSON: {error};"
                " messages, tools and further parameters must be plain dicts, lists, strings,"
                " numbers, booleans and None"
            ) from None


def refused_option(request: Request, status: int, body: str) -> str | None:
    """Name the field that a server refuses, if the request can do without it."""
    name = "stream_options"
    refused = status in (400, 422) and name in request.body and name in body
    return name if refused else None
