"""A request, before it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import evolve, field, frozen

from llm_kit.dialects.base import ChatDialect
from llm_kit.policies import Recovery


@frozen
class Request:
    """What to send: the key is not in it, it is asked for when the request goes out."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: Mapping[str, Any] = field(repr=False)
    dialect: type[ChatDialect] = field(repr=False)

    def refused_option(self, status: int, answer: str) -> str | None:
        """Name the field that a server refuses, if the request can do without it."""
        return self.dialect.refused_option(self.body, status, answer)

    @property
    def can_be_continued(self) -> bool:
        """Whether a server could go on in the middle of the answer."""
        return self.dialect.can_be_continued(self.body)

    def continued(self, text: str, recovery: Recovery) -> tuple[Request, str]:
        """Give the request that goes on from a text, and the blanks at its end left out."""
        body, left_out = self.dialect.continued_body(
            self.body, text, self.url, recovery.mode, recovery.instruction
        )
        return evolve(self, body=body), left_out

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
