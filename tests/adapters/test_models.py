"""SDK objects to the wire objects that they were made from."""

import enum
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from openai.types.chat import ChatCompletionChunk
from pydantic import BaseModel, ConfigDict, Field

from llm_kit.adapters.models import is_model, wire_form

SENT = {"id": "1", "choices": [{"index": 0, "delta": {"content": "Hi"}}], "provider": "unknown"}


class Event(BaseModel):
    """A model as the SDKs have them: fields of their own, others renamed, unknown ones kept."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    type: str | None = None
    stop_reason: str | None = Field(None, alias="stopReason")
    added: int = 7


def test_what_was_sent_and_nothing_else():
    assert wire_form(ChatCompletionChunk.construct(**SENT)) == SENT
    assert wire_form(Event(type="x", stopReason="end", more=[1])) == {
        "type": "x",
        "stopReason": "end",
        "more": [1],
    }


def test_a_model_of_which_nothing_was_sent_is_its_defaults():
    assert wire_form(Event()) == {"added": 7}
    assert wire_form(Google(sdk_http_response={"header": "x"})) == {}


def test_types_that_were_never_validated_are_no_matter():
    assert wire_form(Event.model_construct(type={"un": "expected"})) == {"type": {"un": "expected"}}


def test_a_moment_is_written_as_it_was_sent():
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert wire_form(Event(at=moment)) == {"at": "2026-01-02T03:04:05Z"}


def test_snapshots_and_parsed_values_were_never_sent():
    event = Event(type="response.output_text.delta", delta="i", snapshot="Hi", parsed={"a": 1})
    assert wire_form(event) == {"type": "response.output_text.delta", "delta": "i"}


def test_a_chunk_in_an_event_is_taken_out():
    event = SimpleNamespace(type="chunk", chunk=ChatCompletionChunk.construct(**SENT))
    assert wire_form(event) == SENT


def test_another_model_may_have_that_type_too():
    assert wire_form(Event(type="chunk", text="x")) == {"type": "chunk", "text": "x"}


def test_a_wrapped_chunk_is_taken_out():
    assert wire_form(SimpleNamespace(data=ChatCompletionChunk.construct(**SENT))) == SENT


def test_data_that_is_no_model_is_a_field():
    assert wire_form(Event(data="x")) == {"data": "x"}


@pytest.mark.parametrize("kind", ["content.delta", "tool_calls.function.arguments.done", "text"])
def test_what_a_helper_derives_was_never_sent(kind):
    assert wire_form(Event(type=kind)) is None


class Reason(enum.Enum):
    STOP = "STOP"


class Google(BaseModel):
    """A model of google-genai's: bytes and enums, and the response's head in a field."""

    model_config = ConfigDict(extra="allow")

    sdk_http_response: dict[str, str] | None = None
    automatic_function_calling_history: list[str] | None = None


def test_bytes_and_enums_are_written_as_google_sends_them():
    part = {"thoughtSignature": b"\xfb\xff\xbf", "text": "Hi"}
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    model = Google(
        sdk_http_response={"header": "x"},
        automatic_function_calling_history=["asked before"],
        candidates=[{"parts": [part], "finishReason": Reason.STOP}],
        createTime=moment,
    )
    assert wire_form(model) == {
        "candidates": [
            {"parts": [{"thoughtSignature": "+/+/", "text": "Hi"}], "finishReason": "STOP"}
        ],
        "createTime": "2026-01-02T03:04:05+00:00",
    }


def test_a_model_is_what_can_be_dumped():
    assert is_model(Event())
    assert not is_model({})
