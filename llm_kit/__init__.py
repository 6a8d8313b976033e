"""
Stream LLM chats: normalised chunks, partial results that survive, and a stop that works.

    >>> from llm_kit import StreamCollector
    >>> StreamCollector.to_string(["Hello, ", "world"])
    'Hello, world'
"""

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
