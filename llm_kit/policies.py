"""What a user may set: values that are refused, with the field's name, when they make no sense."""

from __future__ import annotations

from typing import Any, Literal, get_args

from attrs import Attribute, field, frozen

MIB = 2**20
_PAUSE, _MAX_PAUSE = 1.0, 30.0
_YEAR = 366 * 24 * 3600  # operating systems' timers overflow at some hundreds of them

RecoveryAction = Literal["raise", "restart", "continue"]
ContinueMode = Literal["auto", "instruct", "plain", "prefix", "partial", "continue_final_message"]

INSTRUCTION = (
    "Your answer above was cut off. Go on exactly where it stops, with the very next character:"
    " repeat nothing of it, and say nothing about the interruption."
)


def _refuse(instance: object, attribute: Attribute[Any], value: object, expected: str) -> None:
    raise ValueError(
        f"{type(instance).__name__}.{attribute.name} must be {expected}; got {value!r}"
    )


def _is_number(value: object) -> bool:
    """Tell a number from what only counts as one in Python: True."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def seconds_or_none(instance: object, attribute: Attribute[Any], value: Any) -> None:
    """Check a time limit."""
    if value is not None and not (_is_number(value) and 0 < value <= _YEAR):
        _refuse(
            instance,
            attribute,
            value,
            "a positive number of seconds, a year at most, or None for no limit",
        )


def _seconds(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if not (_is_number(value) and 0 <= value <= _YEAR):
        _refuse(instance, attribute, value, "a number of seconds from zero to a year")


def _bytes_or_none(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if value is not None and not (_is_number(value) and isinstance(value, int) and value > 0):
        _refuse(instance, attribute, value, "a positive number of bytes, or None for no limit")


def _attempts(instance: object, attribute: Attribute[Any], value: Any) -> None:
    if not (_is_number(value) and isinstance(value, int) and value >= 1):
        _refuse(instance, attribute, value, "a whole number of requests, 1 (no retry) or more")


def _one_of(kind: Any) -> Any:
    def check(instance: object, attribute: Attribute[Any], value: object) -> None:
        if value not in get_args(kind):
            words = " or ".join(f'"{word}"' for word in get_args(kind))
            _refuse(instance, attribute, value, words)

    return check


def _words(instance: object, attribute: Attribute[Any], value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        _refuse(instance, attribute, value, "a text that is not empty")


@frozen
class Limits:
    """
    How much one answer may send, in bytes; past it the stream ends with a StreamProtocolError.

        >>> Limits(event=1 * MIB).response == 256 * MIB
        True

    Attributes:
        event: one event. The largest real one known is an image in base64, some MB.
        response: the whole answer, after any decompression.
    """

    event: int | None = field(default=16 * MIB, validator=_bytes_or_none)
    response: int | None = field(default=256 * MIB, validator=_bytes_or_none)


@frozen
class RetryPolicy:
    """
    How often a request is sent again that failed before the model had said anything.

    That is: no connection, a status of 408, 409, 429 or 5xx, and an answer that dies or reports
    an error before its first text, reasoning or tool call. Deadlines are not retried: they say
    how long the user wants to wait.

        >>> RetryPolicy(attempts=5, pause=0.5)
        RetryPolicy(attempts=5, pause=0.5, max_pause=30.0, max_retry_after=60.0)

    Attributes:
        attempts: how many requests one stream may take in all, recovery's included; 1 = no retry.
        pause: seconds; the first pause is a random part of it, and it doubles each time.
        max_pause: seconds that no pause of our own is longer than.
        max_retry_after: seconds; a server that asks for a longer pause (``Retry-After``) is not
            asked again at all: the error is raised at once, with its ``retry_after``.
    """

    attempts: int = field(default=3, validator=_attempts)
    pause: float = field(default=_PAUSE, validator=_seconds)
    max_pause: float = field(default=_MAX_PAUSE, validator=_seconds)
    max_retry_after: float = field(default=60.0, validator=_seconds)

    def __attrs_post_init__(self) -> None:
        # A default may contradict the other one: it was not said.
        if _PAUSE != self.pause > self.max_pause != _MAX_PAUSE:
            raise ValueError(
                f"RetryPolicy.max_pause ({self.max_pause}) is shorter than"
                f" RetryPolicy.pause ({self.pause})"
            )


@frozen
class Recovery:
    """
    What happens when an answer is lost in the middle: after its first text, reasoning or tool call.

        >>> Recovery("continue", mode="prefix").action
        'continue'

    Attributes:
        action: "raise" the error with its ``.partial``; "restart": ask again from the beginning,
            with a chunk that has ``restarted=True`` where the new answer begins; "continue": send
            the partial answer back and go on from there. A half tool call is never continued.
        mode: how "continue" sends it back. "instruct": as a message, and the `instruction` behind
            it. The others make it the beginning of the next answer, for servers that can do that:
            "plain" as a last message of the assistant's, "prefix" and "partial" with that field
            set on it (DeepSeek and Mistral; Moonshot and Qwen), "continue_final_message" with
            that field in the body (vLLM, SGLang). "auto" knows some servers by their address,
            and instructs the rest.
        instruction: what the model is told where it is instructed.
    """

    action: RecoveryAction = field(default="raise", validator=_one_of(RecoveryAction))
    mode: ContinueMode = field(default="auto", validator=_one_of(ContinueMode), kw_only=True)
    instruction: str = field(default=INSTRUCTION, validator=_words, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.mode != "auto" and self.action != "continue":
            raise ValueError(
                f'Recovery.mode ("{self.mode}") says how to continue, and Recovery.action is'
                f' "{self.action}": write Recovery("continue", mode="{self.mode}")'
            )
