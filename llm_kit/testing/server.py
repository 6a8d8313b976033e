"""A scripted HTTP server: which reply a request gets, and what a test may ask about it."""

from __future__ import annotations

import itertools
import ssl
import threading
from collections.abc import Callable
from typing import Any, Self

from llm_kit.testing.completions import echo
from llm_kit.testing.connection import Listener
from llm_kit.testing.received import Received
from llm_kit.testing.script import Reply
from llm_kit.testing.steps import Steps, check

_MODELS = Reply.json({"object": "list", "data": [{"id": "fake-model", "object": "model"}]})

Scripted = Reply | Callable[[Received], Reply]


class FakeServer:
    """
    A scripted chat server on a port of 127.0.0.1, for tests of code that talks to a real one.

    >>> import httpx
    >>> with FakeServer(Reply.text("Hello, world!").stall(after=2)) as server:
    ...     with httpx.stream("POST", server.base_url + "/chat/completions") as response:
    ...         first = next(response.iter_lines())
    ...     server.wait_for_request().closed.wait(5)
    True

    The n-th POST, whatever its path, gets the n-th reply; the last reply repeats. Without any
    reply the server quotes the user's last message. ``GET /v1/models`` lists one model, anything
    else is a 404. It serves from ``with`` or ``start()`` to ``close()``, which ends every answer;
    started again it listens on the same port and goes on in the script.

    Args:
        replies: each a Reply, or a function that is given the Received and makes one.
        port: 0 for any free one.
        ssl_context: serve https with it.
        mute: accept connections and never say a word, not even a TLS handshake. Each connection
            then counts as a request without a method: see its ``closed`` and ``closed_at``.
    """

    def __init__(
        self,
        *replies: Scripted,
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        mute: bool = False,
    ) -> None:
        for reply in replies:
            if not callable(reply):
                check(reply, Reply, "each reply as a Reply, or a function from Received to one")
        self._past_connections = 0
        self._replies = replies or (lambda received: Reply.text(echo(received.json), pace=0.03),)
        self._port = port
        self._ssl_context = ssl_context
        self._mute = mute
        self._requests: list[Received] = []
        self._posts = itertools.count()
        self._arrival = threading.Condition()
        self._listener: Listener | None = None

    def start(self) -> Self:
        """Begin to serve, unless it does already."""
        if self._listener is None:
            self._listener = Listener(
                self._port, self._ssl_context, self._note, self._reply_to, mute=self._mute
            )
            self._port = self._listener.server_address[1]
        return self

    def close(self) -> None:
        """Stop listening, end every answer and wait for its thread; again does nothing."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            self._past_connections += listener.accepted

    __enter__ = start

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def base_url(self) -> str:
        """Where clients find it, ``/v1`` included; still the same after ``close()``."""
        if not self._port:
            raise RuntimeError("the server has no port yet: use `with`, or call start() first")
        return f"http{'s' if self._ssl_context else ''}://127.0.0.1:{self._port}/v1"

    @property
    def requests(self) -> list[Received]:
        """Every request so far, in the order of arrival."""
        with self._arrival:
            return list(self._requests)

    @property
    def connections(self) -> int:
        """How many connections have been accepted so far."""
        return self._past_connections + (self._listener.accepted if self._listener else 0)

    @property
    def open_connections(self) -> int:
        """How many connections are open right now."""
        return len(self._listener.peers) if self._listener else 0

    def wait_for_request(self, n: int = 1, timeout: float = 5.0) -> Received:
        """Wait until the n-th request (from 1) has arrived; TimeoutError if it doesn't."""
        if n < 1:
            raise ValueError(f"requests are counted from 1, got {n}")
        with self._arrival:
            if self._arrival.wait_for(lambda: len(self._requests) >= n, timeout):
                return self._requests[n - 1]
            came = len(self._requests)
        raise TimeoutError(f"request {n} did not arrive within {timeout:g} s: {came} came so far")

    def _note(self, received: Received) -> None:
        with self._arrival:
            self._requests.append(received)
            self._arrival.notify_all()

    def _reply_to(self, received: Received) -> tuple[Reply, Steps]:
        if received.method == "GET" and received.path.partition("?")[0] == "/v1/models":
            return _MODELS, _MODELS.steps_for(None)
        reply: Any = Reply.error(404, f"no such path: {received.method} {received.path}")
        try:
            if received.method == "POST":
                reply = self._replies[min(next(self._posts), len(self._replies) - 1)]
            if not isinstance(reply, Reply):
                reply = reply(received)
                check(reply, Reply, "a Reply from the reply function")
            return reply, reply.steps_for(received.json)
        except Exception as error:  # noqa: BLE001  whatever the user's function raises
            reply = Reply.error(500, f"the scripted reply failed: {error!r}")
            return reply, reply.steps_for(None)
