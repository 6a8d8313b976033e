"""A text that grows by pieces, and can be read at any time, from any thread, at little cost."""

from __future__ import annotations


class Text:
    """
    Joined when it is read, not when it is written.

    The pieces are only ever appended to, and what has been joined is replaced as one value:
    so a user interface may read while another thread writes, without a lock and without loss.

        >>> text = Text()
        >>> text.append("Hel"), text.append("lo"), text.value
        (None, None, 'Hello')
    """

    __slots__ = ("_joined", "_pieces", "append")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._joined = (0, "")
        self.append = self._pieces.append

    @property
    def value(self) -> str:
        """The whole text so far."""
        count, text = self._joined
        now = len(self._pieces)
        if now != count:
            text += "".join(self._pieces[count:now])
            self._joined = (now, text)
        return text

    def since(self, position: int) -> list[str]:
        """Give the pieces from one position on; their number moves it forward."""
        return self._pieces[position:]

    def __bool__(self) -> bool:
        return bool(self._pieces)
