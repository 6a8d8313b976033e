"""
Stream LLM chats: normalised chunks, partial results that survive, and a stop that works.

    >>> from llm_kit import StreamCollector
    >>> StreamCollector.to_string(["Hello, ", "world"])
    'Hello, world'
"""

import importlib.util
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_kit.adapters.registry import register_adapter
    from llm_kit.client import AsyncLLMClient, LLMClient
    from llm_kit.dialects.base import Chat, ChatDialect, Dialect
    from llm_kit.errors import (
        APIConnectionError,
        APIStatusError,
        LLMKitError,
        StreamAPIError,
        StreamError,
        StreamInterrupted,
        StreamProtocolError,
        StreamTimeoutError,
        StreamTruncatedError,
    )
    from llm_kit.policies import Limits, Recovery, RetryPolicy
    from llm_kit.streams.chat_stream import AsyncChatStream, ChatStream
    from llm_kit.streams.collector import StreamCollector
    from llm_kit.streams.deadlines import Deadlines
    from llm_kit.streams.interrupter import StreamInterrupter
    from llm_kit.streams.normalize import normalize
    from llm_kit.streams.processor import StreamProcessor
    from llm_kit.streams.thinking import split_thinking
    from llm_kit.types import (
        ChoiceResult,
        Chunk,
        FunctionCall,
        Message,
        ResponseInfo,
        StreamResult,
        Timing,
        ToolCall,
        ToolCallDelta,
        Usage,
    )

__version__ = "0.1.0"

__all__ = [
    "APIConnectionError",
    "APIStatusError",
    "AsyncChatStream",
    "AsyncLLMClient",
    "Chat",
    "ChatDialect",
    "ChatStream",
    "ChoiceResult",
    "Chunk",
    "Deadlines",
    "Dialect",
    "FunctionCall",
    "LLMClient",
    "LLMKitError",
    "Limits",
    "Message",
    "Recovery",
    "ResponseInfo",
    "RetryPolicy",
    "StreamAPIError",
    "StreamCollector",
    "StreamError",
    "StreamInterrupted",
    "StreamInterrupter",
    "StreamProcessor",
    "StreamProtocolError",
    "StreamResult",
    "StreamTimeoutError",
    "StreamTruncatedError",
    "Timing",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
    "normalize",
    "register_adapter",
    "split_thinking",
]

# Where each name is at home. What is behind it is imported when it is first asked for: who asks for
# a chunk's type or an error needs no client. A test holds this against the imports above.
_HOMES = {
    name: f"llm_kit.{home}"
    for home, names in {
        "adapters.registry": "register_adapter",
        "client": "AsyncLLMClient LLMClient",
        "dialects.base": "Chat ChatDialect Dialect",
        "errors": (
            "APIConnectionError APIStatusError LLMKitError StreamAPIError StreamError "
            "StreamInterrupted StreamProtocolError StreamTimeoutError "
            "StreamTruncatedError"
        ),
        "policies": "Limits Recovery RetryPolicy",
        "streams.chat_stream": "AsyncChatStream ChatStream",
        "streams.collector": "StreamCollector",
        "streams.deadlines": "Deadlines",
        "streams.interrupter": "StreamInterrupter",
        "streams.normalize": "normalize",
        "streams.processor": "StreamProcessor",
        "streams.thinking": "split_thinking",
        "types": (
            "ChoiceResult Chunk FunctionCall Message ResponseInfo StreamResult Timing "
            "ToolCall ToolCallDelta Usage"
        ),
    }.items()
    for name in names.split()
}
# Python's own locks are one a module: two threads that come to a package and to a part of it at the
# same time would wait for each other, which Python ends with an error in one of them.
_importing = threading.RLock()

if not TYPE_CHECKING:  # else every misspelt name would have a type

    def __getattr__(name: str) -> object:
        module = f"{__name__}.{name}"
        with _importing:
            if name in _HOMES:
                value = getattr(importlib.import_module(_HOMES[name]), name)
            elif name.isidentifier() and importlib.util.find_spec(module):
                value = importlib.import_module(module)
            else:
                raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
