"""Keeping keys out of what people read: messages, bodies, causes."""

from __future__ import annotations

import re
from collections.abc import Mapping

_MASK = "[key removed]"
# Shorter "keys" are placeholders like "x" or "none"; masking them would garble every message.
_SHORTEST = 6
_SEPARATORS = re.compile(r"[\s;,=]+")
_TELLING = ("auth", "key", "token", "secret", "cookie")


class Secrets:
    """The strings that must not be seen, and the way to take them out of an error."""

    def __init__(self) -> None:
        self._values: list[str] = []

    def add(self, value: str | None) -> None:
        """Remember one."""
        if value is not None and len(value) >= _SHORTEST and value not in self._values:
            self._values.append(value)

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Remember the values of those headers whose names say that they are secret."""
        for name, value in headers.items():
            if any(word in name.lower() for word in _TELLING):
                self.add(value)
                # A server may echo the key alone: what stands behind the scheme or the name.
                for word in _SEPARATORS.split(value)[1:]:
                    self.add(word)

    def clean(self, text: str) -> str:
        """Mask every secret in a text."""
        for value in sorted(self._values, key=len, reverse=True):  # one may contain another
            text = text.replace(value, _MASK)
        return text

    def scrub(self, error: BaseException | None) -> None:
        """Mask every secret in an error's words, and in those of the errors behind it."""
        seen: set[int] = set()
        while error is not None and self._values and id(error) not in seen:
            seen.add(id(error))
            error.args = tuple(
                self.clean(word) if isinstance(word, str) else word for word in error.args
            )
            for name, value in vars(error).items():
                if isinstance(value, str):
                    setattr(error, name, self.clean(value))
            error = error.__cause__ or error.__context__
