"""What a client was told, checked, and what it makes of a question: of either colour."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from attrs import asdict

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
from llm_kit._io.stop import StopSignal
from llm_kit.dialects import find_chat_dialect
from llm_kit.dialects.base import Chat, ChatDialect
from llm_kit.policies import Limits, Recovery, RecoveryAction, RetryPolicy
from llm_kit.streams.deadlines import Deadlines
from llm_kit.types import Message
from llm_kit.wire import OnMalformed, WireDecoder

T = TypeVar("T")
# What other SDKs call what is set here.
_MISTAKEN = {
    "timeout": "deadlines=Deadlines(...)",
    "deadline": "deadlines=Deadlines(...)",
    "max_retries": "retry=RetryPolicy(attempts=...)",
    "retries": "retry=RetryPolicy(attempts=...)",
}


class Settings:
    """A client without its colour: what it was told, and the key it was given."""

    def __init__(
        self,
        base_url: str | None,
        api_key: Any,
        model: str | None,
        headers: Mapping[str, str] | None,
        deadlines: Deadlines | None,
        retry: RetryPolicy | None,
        limits: Limits | None,
        dialect: str | type[ChatDialect],
    ) -> None:
        self.dialect = find_chat_dialect(dialect)
        self.base_url = checked_url(base_url or environment("BASE_URL", self.dialect))
        self.model = model or os.environ.get("LLM_KIT_MODEL") or None
        self._api_key = api_key if api_key is not None else environment("API_KEY", self.dialect)
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

    def _chat(
        self,
        messages: Sequence[Message | Mapping[str, Any]],
        model: str | None,
        tools: Sequence[Mapping[str, Any]] | None,
        stop: str | Sequence[str] | None,
        n: int | None,
        include_usage: bool,
        params: Mapping[str, Any],
    ) -> Chat:
        """Check what is asked."""
        if "stream" in params:
            raise TypeError("chat_stream always streams: leave `stream` out")
        for name in _MISTAKEN.keys() & params.keys():
            raise TypeError(f"`{name}` would be sent to the server: write {_MISTAKEN[name]}")
        checked = checked_messages(messages)
        return Chat(checked, model or self.model, tools, stop, n, include_usage, params)

    def _prepare(
        self,
        chat: Chat,
        deadlines: Deadlines | None,
        retry: RetryPolicy | None,
        recovery: RecoveryAction | Recovery | None,
        on_malformed: OnMalformed,
        extra_headers: Mapping[str, str] | None,
    ) -> tuple[Steps, Pipeline, StopSignal, Budget, Secrets]:
        """Build what a stream consists of, but for its source."""
        n = checked_choices(chat.n)
        headers = checked_headers(self._headers) | checked_headers(extra_headers or {})
        secrets = Secrets()
        secrets.add_headers(headers)
        for value in secrets_in_url(self.base_url):
            secrets.add(value)
        dialect = self.dialect
        url = joined_url(self.base_url, dialect.path(chat.model), dialect.root)
        request = Request(url, headers, dialect.request_body(chat), dialect)
        budget = Budget()
        budget.restrict(**asdict(_checked(deadlines, Deadlines, "deadlines") or self._deadlines))
        retrial = self._retrial(retry, recovery, n, request, budget)
        total = Accumulator()
        total.expected = n
        pipeline = Pipeline(total)
        make_decoder = partial(WireDecoder, dialect, self._limits, on_malformed)
        steps = stream_session(make_decoder, pipeline, budget, Open(request), retrial)
        return steps, pipeline, StopSignal(), budget, secrets

    def _retrial(
        self,
        retry: RetryPolicy | None,
        recovery: RecoveryAction | Recovery | None,
        n: int,
        request: Request,
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
        if recovery.action == "continue" and request.can_be_continued:
            request.continued("...", recovery)  # a mode that can't be is told now, not at a loss
        return Retrial(policy, recovery, budget)

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


def _checked(value: T | None, kind: type[T], name: str) -> T | None:
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}(...), not {value!r}")
    return value


def environment(name: str, dialect: type[ChatDialect]) -> str | None:
    """Give what the environment says of ``BASE_URL`` or ``API_KEY``."""
    own = os.environ.get(f"{dialect.environment}_{name}") if dialect.environment else None
    return os.environ.get(f"LLM_KIT_{name}") or own or None
