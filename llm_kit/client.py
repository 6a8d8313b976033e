"""
LLMClient and AsyncLLMClient: send a chat, get a stream.

Users import the wrappers from here too, beside the client they belong with.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

from attrs import asdict, evolve

from llm_kit._core.accumulator import Accumulator
from llm_kit._core.arguments import (
    check_key,
    checked_choices,
    checked_headers,
    checked_messages,
)
from llm_kit._core.budget import Budget
from llm_kit._core.pipeline import Pipeline
from llm_kit._core.request import Request
from llm_kit._core.retrial import Retrial
from llm_kit._core.secrets import Secrets
from llm_kit._core.session import Open, Steps, stream_session
from llm_kit._core.urls import checked_url, joined_url, secrets_in_url, shown_url
from llm_kit._io.http import (
    AsyncHTTPClient,
    AsyncHttpSource,
    Auth,
    HTTPClient,
    HttpSource,
    new_async_client,
    new_client,
)
from llm_kit._io.stop import StopSignal
from llm_kit.dialects import find_dialect
from llm_kit.policies import Limits, Recovery, RecoveryAction, RetryPolicy
from llm_kit.streams.chat_stream import AsyncChatStream, ChatStream
from llm_kit.streams.collector import StreamCollector
from llm_kit.streams.deadlines import Deadlines
from llm_kit.streams.interrupter import StreamInterrupter
from llm_kit.streams.normalize import DialectName, normalize
from llm_kit.streams.processor import StreamProcessor
from llm_kit.types import Message
from llm_kit.wire import OnMalformed, WireDecoder

__all__ = [
    "AsyncLLMClient",
    "LLMClient",
    "StreamCollector",
    "StreamInterrupter",
    "StreamProcessor",
    "normalize",
]

T = TypeVar("T")
# What other SDKs call what is set here.
_MISTAKEN = {
    "timeout": "deadlines=Deadlines(...)",
    "deadline": "deadlines=Deadlines(...)",
    "max_retries": "retry=RetryPolicy(attempts=...)",
    "retries": "retry=RetryPolicy(attempts=...)",
}
SyncKey = str | Callable[[], str]
AsyncKey = str | Callable[[], str | Awaitable[str]]


class _Settings:
    """What a client was told, checked: of either colour."""

    def __init__(
        self,
        base_url: str | None,
        api_key: Any,
        model: str | None,
        headers: Mapping[str, str] | None,
        deadlines: Deadlines | None,
        retry: RetryPolicy | None,
        limits: Limits | None,
        dialect: str,
    ) -> None:
        self.dialect = find_dialect(dialect)
        self.base_url = checked_url(base_url or environment("BASE_URL"))
        self.model = model or os.environ.get("LLM_KIT_MODEL") or None
        self._api_key = api_key if api_key is not None else environment("API_KEY")
        if self._api_key is not None and not (
            isinstance(self._api_key, str) or callable(self._api_key)
        ):
            raise TypeError("api_key must be a string, or a callable that returns one")
        if isinstance(self._api_key, str):
            check_key(self._api_key)
        self._headers = dict(headers or {})
        self._deadlines = _checked(deadlines, Deadlines, "deadlines") or Deadlines()
        self._retry = _checked(retry, RetryPolicy, "retry") or RetryPolicy()
        self._limits = _checked(limits, Limits, "limits") or Limits()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={shown_url(self.base_url)!r}, model={self.model!r})"

    def _prepare(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        model: str | None,
        deadlines: Deadlines | None,
        retry: RetryPolicy | None,
        recovery: RecoveryAction | Recovery | None,
        include_usage: bool,
        on_malformed: OnMalformed,
        extra_headers: Mapping[str, str] | None,
        params: Mapping[str, Any],
    ) -> tuple[Steps, Pipeline, StopSignal, Budget, Secrets]:
        """Build what a stream consists of, but for its source."""
        if "stream" in params:
            raise TypeError("chat_stream always streams: leave `stream` out")
        for name in _MISTAKEN.keys() & params.keys():
            raise TypeError(f"`{name}` would be sent to the server: write {_MISTAKEN[name]}")
        n = checked_choices(params.get("n"))
        headers = checked_headers(self._headers) | checked_headers(extra_headers or {})
        secrets = Secrets()
        secrets.add_headers(headers)
        for value in secrets_in_url(self.base_url):
            secrets.add(value)
        request = Request(
            joined_url(self.base_url, self.dialect.path),
            headers,
            self.dialect.request_body(
                checked_messages(messages),
                model=model or self.model,
                include_usage=include_usage,
                **params,
            ),
        )
        budget = Budget()
        budget.restrict(**asdict(_checked(deadlines, Deadlines, "deadlines") or self._deadlines))
        retrial = self._retrial(retry, recovery, n, request.body, budget)
        total = Accumulator()
        total.expected = n
        pipeline = Pipeline(total)

        def make_decoder() -> WireDecoder:
            return WireDecoder(self.dialect(), self._limits, on_malformed)

        steps = stream_session(make_decoder, pipeline, budget, Open(request), retrial)
        return steps, pipeline, StopSignal(), budget, secrets

    def _retrial(
        self,
        retry: RetryPolicy | None,
        recovery: RecoveryAction | Recovery | None,
        n: int,
        body: Mapping[str, Any],
        budget: Budget,
    ) -> Retrial:
        policy = _checked(retry, RetryPolicy, "retry") or self._retry
        if recovery is None or isinstance(recovery, str):
            recovery = Recovery("raise" if recovery is None else recovery)
        if not isinstance(recovery, Recovery):
            raise TypeError('recovery must be "raise", "restart", "continue" or a Recovery(...)')
        if recovery.action != "raise" and policy.attempts == 1:
            raise ValueError(
                f'recovery="{recovery.action}" needs a second request, and the retry policy'
                " allows one: give retry=RetryPolicy(attempts=2) or more"
            )
        if recovery.action == "continue" and n > 1:
            raise ValueError(
                'recovery="continue" goes on from one text, and n asks for several:'
                ' use recovery="restart"'
            )

        def continued(request: Request, text: str) -> tuple[Request, str]:
            body, left_out = self.dialect.continued_body(
                request.body, text, request.url, recovery.mode, recovery.instruction
            )
            return evolve(request, body=body), left_out

        can_go_on = self.dialect.can_be_continued(body)
        return Retrial(policy, recovery, continued if can_go_on else None, budget)

    def _key_headers(self, key: object, secrets: Secrets) -> dict[str, str]:
        """Put the key where the dialect wants it; from here on it is masked in errors."""
        if inspect.isawaitable(key):
            if inspect.iscoroutine(key):
                key.close()
            raise TypeError("an async api_key callable needs AsyncLLMClient")
        if key is not None and not isinstance(key, str):
            raise TypeError(f"the api_key callable must return a string, not {type(key).__name__}")
        check_key(key or "")
        secrets.add(key)
        return self.dialect.request_headers(key)


def _given(**params: Any) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _checked(value: T | None, kind: type[T], name: str) -> T | None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}(...), not {value!r}")
    return value


def environment(name: str) -> str | None:
    """Give what the environment says of ``BASE_URL`` or ``API_KEY``."""
    return os.environ.get(f"LLM_KIT_{name}") or os.environ.get(f"OPENAI_{name}") or None


class LLMClient(_Settings):
    """
    A thin client for chat APIs that stream.

        >>> from llm_kit.testing import FakeServer, Reply
        >>> with FakeServer(Reply.text("Hello!")) as server:
        ...     with LLMClient(base_url=server.base_url, model="any") as client:
        ...         stream = client.chat_stream([{"role": "user", "content": "Hi"}])
        ...         print("".join(chunk.delta for chunk in stream))
        Hello!

    Args:
        base_url: where the API is, usually ending in ``/v1``; by default LLM_KIT_BASE_URL, then
            OPENAI_BASE_URL of the environment.
        api_key: the key, or a callable that is asked for it before each request; by default
            LLM_KIT_API_KEY, then OPENAI_API_KEY. It is never shown.
        model: for requests that name none; by default LLM_KIT_MODEL.
        auth: an ``httpx.Auth``, for servers that want more than a key.
        headers: sent with each request.
        deadlines: how long a stream may take; by default ``Deadlines()``.
        retry: how often a request is sent that failed before the model said anything; by default
            ``RetryPolicy()``.
        limits: how much one answer may send.
        http_client: your own ``httpx.Client`` (or httpx2's), for proxies, certificates or
            HTTP/2; it is not closed with this client. Its timeouts are not used, but
            ``deadlines``.
        dialect: how the server speaks.

    Raises:
        ValueError: no base_url is known, or it is none; an unknown dialect.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: SyncKey | None = None,
        model: str | None = None,
        *,
        auth: Auth | None = None,
        headers: Mapping[str, str] | None = None,
        deadlines: Deadlines | None = None,
        retry: RetryPolicy | None = None,
        limits: Limits | None = None,
        http_client: HTTPClient | None = None,
        dialect: DialectName = "openai",
    ) -> None:
        super().__init__(base_url, api_key, model, headers, deadlines, retry, limits, dialect)
        if http_client is not None and not hasattr(http_client, "send"):
            raise TypeError("http_client must be an httpx.Client")
        if http_client is not None and inspect.iscoroutinefunction(http_client.send):
            raise TypeError("http_client is an async client: use AsyncLLMClient with it")
        self._auth = auth
        self._owned = new_client() if http_client is None else None
        self._http: Any = self._owned or http_client

    def chat_stream(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        model: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        stop: str | Sequence[str] | None = None,
        n: int | None = None,
        deadlines: Deadlines | None = None,
        retry: RetryPolicy | None = None,
        recovery: RecoveryAction | Recovery | None = None,
        include_usage: bool = True,
        on_malformed: OnMalformed = "raise",
        extra_headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> ChatStream:
        """
        Ask for an answer, and give its stream at once.

        The request is sent when the first chunk is asked for, or on ``with``.

        Args:
            messages: the chat so far, as a list of dicts with ``role`` and ``content``.
            tools: the tools that the model may call, in OpenAI's form.
            stop: texts at which the server shall stop.
            n: how many choices.
            deadlines: how long this stream may take, in place of the client's.
            retry: how often this request is sent, in place of the client's.
            recovery: what happens when the answer is lost in the middle: "raise" (the default),
                "restart" or "continue"; see `Recovery`.
            include_usage: ask for the tokens used; a server that refuses the question is
                asked again once without it.
            on_malformed: "skip" leaves broken events out (see ``result.quirks``) where
                "raise" ends the stream.
            extra_headers: sent with this request.
            **params: go into the JSON body untouched (``temperature``, ``max_tokens``, ...).

        Raises:
            TypeError, ValueError: the arguments make no request. What the server or the
                network does wrong is raised by the stream, as an `LLMKitError`.
        """
        params |= _given(tools=tools, stop=stop, n=n)
        steps, pipeline, stop_signal, budget, secrets = self._prepare(
            messages,
            model,
            deadlines,
            retry,
            recovery,
            include_usage,
            on_malformed,
            extra_headers,
            params,
        )

        def key() -> dict[str, str]:
            given = self._api_key() if callable(self._api_key) else self._api_key
            return self._key_headers(given, secrets)

        source = HttpSource(stop_signal, budget, self._http, key, self._auth, secrets)
        return ChatStream(source, steps, pipeline, stop_signal, budget, secrets)

    def close(self) -> None:
        """Close the connections; of an ``http_client`` of your own nothing is closed."""
        if self._owned is not None:
            self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncLLMClient(_Settings):
    """
    The async twin of `LLMClient`: the same arguments, and streams for ``async for``.

    ``api_key`` may be an async callable, ``http_client`` is an ``httpx.AsyncClient``.
    """

    def __init__(
        self,
        base_url: str | None = None,
        api_key: AsyncKey | None = None,
        model: str | None = None,
        *,
        auth: Auth | None = None,
        headers: Mapping[str, str] | None = None,
        deadlines: Deadlines | None = None,
        retry: RetryPolicy | None = None,
        limits: Limits | None = None,
        http_client: AsyncHTTPClient | None = None,
        dialect: DialectName = "openai",
    ) -> None:
        super().__init__(base_url, api_key, model, headers, deadlines, retry, limits, dialect)
        if http_client is not None and not hasattr(http_client, "send"):
            raise TypeError("http_client must be an httpx.AsyncClient")
        if http_client is not None and not inspect.iscoroutinefunction(http_client.send):
            raise TypeError("http_client is a sync client: use LLMClient with it")
        self._auth = auth
        self._owned = new_async_client() if http_client is None else None
        self._http: Any = self._owned or http_client

    def chat_stream(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        *,
        model: str | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        stop: str | Sequence[str] | None = None,
        n: int | None = None,
        deadlines: Deadlines | None = None,
        retry: RetryPolicy | None = None,
        recovery: RecoveryAction | Recovery | None = None,
        include_usage: bool = True,
        on_malformed: OnMalformed = "raise",
        extra_headers: Mapping[str, str] | None = None,
        **params: Any,
    ) -> AsyncChatStream:
        """Ask for an answer, and give its stream at once; see `LLMClient.chat_stream`."""
        params |= _given(tools=tools, stop=stop, n=n)
        steps, pipeline, stop_signal, budget, secrets = self._prepare(
            messages,
            model,
            deadlines,
            retry,
            recovery,
            include_usage,
            on_malformed,
            extra_headers,
            params,
        )

        async def key() -> dict[str, str]:
            given: Any = self._api_key() if callable(self._api_key) else self._api_key
            return self._key_headers(await given if inspect.isawaitable(given) else given, secrets)

        source = AsyncHttpSource(stop_signal, budget, self._http, key, self._auth, secrets)
        return AsyncChatStream(source, steps, pipeline, stop_signal, budget, secrets)

    async def aclose(self) -> None:
        """Close the connections; of an ``http_client`` of your own nothing is closed."""
        if self._owned is not None:
            await self._owned.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
