"""How long a stream may wait: its deadlines, counted down."""

from __future__ import annotations

from math import inf

from llm_kit.errors import StreamTimeoutError, TimeoutKind

_WORDS: dict[TimeoutKind, str] = {
    "connect": "no connection was made within {}; check base_url and that the server is up",
    "first_chunk": "the server said nothing within {}; it may be overloaded: try again later,"
    " or allow more",
    "idle": "the server went silent for {} in the middle of its answer; .partial has what came",
    "total": "the answer was not whole within {}; .partial has what came",
}


class Budget:
    """
    The deadlines of one stream.

    Times are moments of the caller's clock, in seconds. What the reader's own loop does between
    two chunks is not held against the server, but for `total`, which is a promise to the user.
    """

    def __init__(self) -> None:
        self.connect = self.first_chunk = self.idle = self.total = inf
        """The deadlines in seconds, infinite where there is none."""
        self._since = inf
        self._connect_due = self._total_due = inf
        self._quiet_kind: TimeoutKind = "first_chunk"
        self._kind_before: TimeoutKind = "first_chunk"
        self._quiet_left = inf
        self._quiet_due = inf
        self._waiting = False

    def restrict(
        self,
        *,
        connect: float | None,
        first_chunk: float | None,
        idle: float | None,
        total: float | None,
    ) -> None:
        """Set deadlines, in seconds; of those that were set before the shorter ones hold."""
        self.connect = min(self.connect, inf if connect is None else connect)
        self.first_chunk = min(self.first_chunk, inf if first_chunk is None else first_chunk)
        self.idle = min(self.idle, inf if idle is None else idle)
        self.total = min(self.total, inf if total is None else total)
        self._quiet_left = min(self._quiet_left, self._limit(self._quiet_kind))
        self._total_due = self._since + self.total

    def _limit(self, kind: TimeoutKind) -> float:
        seconds: float = getattr(self, kind)
        return seconds

    def begin(self, now: float) -> None:
        """The stream begins."""
        self._since = now
        self._total_due = now + self.total

    def attempt(self) -> None:
        """A request is about to be sent: the first one, or another."""
        if self._quiet_kind != "first_chunk":  # else its time goes on, over retries and pauses
            self._quiet_kind, self._quiet_left = "first_chunk", self.first_chunk
            self._waiting = False
        self._connect_due = inf

    def said(self) -> None:
        """Something was said: text, reasoning, a tool call, an ending. No mere sign of life."""
        self._waiting = False
        self._kind_before = self._quiet_kind
        if self._kind_before != "idle":
            self._quiet_kind, self._quiet_left = "idle", self.idle

    def lend(self, seconds: float) -> None:
        """Give the server back what the reader's loop took for itself while nothing was said."""
        self._quiet_due += seconds

    def wait(self, now: float) -> float:
        """Begin to wait for the server, or go on; gives when that must end."""
        if not self._waiting:
            self._waiting = True
            self._quiet_due = now + self._quiet_left
        quiet, total = self._quiet_due, self._total_due
        return quiet if quiet < total else total  # noqa: FURB136  min() takes three times as long

    def connecting(self, now: float) -> float:
        """A connection is being made; gives when the wait must end."""
        if self._connect_due == inf:  # else a further try of the transport's own
            self._connect_due = now + self.connect
        return min(self._connect_due, self.wait(now))

    def connected(self, now: float) -> float:
        """The connection is made; gives when the wait must end."""
        self._connect_due = inf
        return self.wait(now)

    def allows(self, pause: float, now: float) -> bool:
        """Whether there is time for a pause of so many seconds."""
        still_silent = self._waiting and self._quiet_kind == "first_chunk"
        due = min(self._total_due, self._quiet_due if still_silent else inf)
        return now + pause < due

    def error(self, now: float) -> StreamTimeoutError:
        """Say which time is up: of those that are, the one that ended first."""
        dues: dict[TimeoutKind, float] = {
            "total": self._total_due,
            "connect": self._connect_due,
            self._quiet_kind: self._quiet_due,
        }
        passed: list[TimeoutKind] = [kind for kind, due in dues.items() if due <= now]
        # None: something came at the last moment, too late for the wait that was ended.
        kind: TimeoutKind = self._kind_before
        if passed:
            kind = min(passed, key=dues.__getitem__)
        seconds = f"{self._limit(kind):g} s (Deadlines.{kind})"
        return StreamTimeoutError(_WORDS[kind].format(seconds), kind=kind)
