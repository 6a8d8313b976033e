"""
LLMClient and AsyncLLMClient: send a chat, get a stream.

Users import the wrappers from here too, beside the client they belong with.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from llm_kit._io.http import (
    AsyncHTTPClient,
    AsyncHttpSource,
    Auth,
    HTTPClient,
    HttpSource,
    new_async_client,
    new_client,
)
from llm_kit.dialects import ChatDialectName
from llm_kit.dialects.base import ChatDialect
from llm_kit.policies import Limits, Recovery, RecoveryAction, RetryPolicy
from llm_kit.settings import Settings
from llm_kit.streams.chat_stream import AsyncChatStream, ChatStream
from llm_kit.streams.collector import StreamCollector
from llm_kit.streams.deadlines import Deadlines
from llm_kit.streams.interrupter import StreamInterrupter
from llm_kit.streams.normalize import normalize
from llm_kit.streams.processor import StreamProcessor
from llm_kit.types import Message
from llm_kit.wire import OnMalformed

__all__ = [
    "AsyncLLMClient",
    "LLMClient",
    "StreamCollector",
    "StreamInterrupter",
    "StreamProcessor",
    "normalize",
]

SyncKey = str | Callable[[], str]
AsyncKey = str | Callable[[], str | Awaitable[str]]


class LLMClient(Settings):
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
            OPENAI_BASE_URL of the environment (that only where an API of OpenAI's is spoken).
        api_key: the key, or a callable that is asked for it before each request; by default
            LLM_KIT_API_KEY, then OPENAI_API_KEY (likewise). It is never shown.
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
        dialect: how the server speaks; messages and tools in OpenAI's form are put into its
            own. A class of your own is a `ChatDialect`.

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
        dialect: ChatDialectName | str | type[ChatDialect] = "openai",
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
            **params: go into the JSON body untouched (``temperature``, ``max_tokens``, ...). In
                another dialect the everyday ones of OpenAI's are put where its API has them.

        Raises:
            TypeError, ValueError: the arguments make no request. What the server or the
                network does wrong is raised by the stream, as an `LLMKitError`.
        """
        chat = self._chat(messages, model, tools, stop, n, include_usage, params)
        steps, pipeline, stop_signal, budget, secrets = self._prepare(
            chat, deadlines, retry, recovery, on_malformed, extra_headers
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


class AsyncLLMClient(Settings):
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
        dialect: ChatDialectName | str | type[ChatDialect] = "openai",
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
        chat = self._chat(messages, model, tools, stop, n, include_usage, params)
        steps, pipeline, stop_signal, budget, secrets = self._prepare(
            chat, deadlines, retry, recovery, on_malformed, extra_headers
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
