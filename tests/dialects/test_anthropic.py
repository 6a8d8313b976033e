"""Anthropic's Messages: what is asked of Claude, and what its events say."""

import json
import random

import pytest

from llm_kit import Chat, Chunk, StreamAPIError, StreamProtocolError, ToolCallDelta, Usage
from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects.anthropic import AnthropicDialect

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 1},
    },
}
STOP = {"type": "message_stop"}
FORMAT = "anthropic-claude-v1"


def begin(index, kind, **fields):
    return {
        "type": "content_block_start",
        "index": index,
        "content_block": {"type": kind, **fields},
    }


def delta(index, kind, **fields):
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def stop(index):
    return {"type": "content_block_stop", "index": index}


def end(reason="end_turn", usage=None, **fields):
    event = {"type": "message_delta", "delta": {"stop_reason": reason, **fields}}
    return event if usage is None else {**event, "usage": usage}


def read(*events, quirks=None):
    """The chunks of these events, in one stream."""
    dialect, chunks = AnthropicDialect(set() if quirks is None else quirks), []
    for event in events:
        dialect.read(event, chunks, event)
    return chunks


def result(*events, quirks=None):
    """What these events add up to."""
    total = Accumulator()
    for chunk in read(*events, quirks=quirks):
        total.feed(chunk, 0.0)
    return total.result()


def call(ident, name, arguments):
    return {
        "id": ident,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def test_what_is_added_to_a_server_tool_s_result_is_no_call():
    fragment = {"type": "input_json_delta", "partial_json": '{"query": "x"}'}
    quirks = set()
    total = result(
        START,
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "web_search_tool_result"},
        },
        {"type": "content_block_delta", "index": 0, "delta": fragment},
        stop(0),
        end(),
        quirks=quirks,
    )
    assert (total.tool_calls, total.incomplete_tool_calls, quirks) == ([], [], set())
    assert total.extra["web_search_tool_result"] == [{"partial_json": '{"query": "x"}', "index": 0}]


# Recognising


@pytest.mark.parametrize(
    "event",
    [
        START,
        begin(0, "text", text=""),
        delta(0, "text_delta", text="a"),
        stop(0),
        end(),
        STOP,
        {"type": "message", "role": "assistant", "content": [], "stop_reason": "end_turn"},
    ],
)
def test_its_own_events_are_recognised(event):
    assert AnthropicDialect.recognises(event)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"choices": []},
        {"error": {"message": "no"}},
        {"type": "error", "error": {"message": "no"}},
        {"type": "message", "role": "assistant", "content": []},
        {"type": "response.created"},
        {"type": "message-start"},
        {"type": ["message_start"]},
        {"type": None},
    ],
)
def test_other_objects_are_not_recognised(payload):
    assert not AnthropicDialect.recognises(payload)


# The stream: text and what is around it


def test_a_stream_of_text_is_read():
    total = result(
        START,
        begin(0, "text", text=""),
        {"type": "ping"},
        delta(0, "text_delta", text="Hel"),
        delta(0, "text_delta", text="lo"),
        stop(0),
        end(usage={"output_tokens": 7}),
        STOP,
    )
    assert (total.id, total.model, total.role) == ("msg_1", "claude-x", "assistant")
    assert (total.content, total.finish_reason) == ("Hello", "stop")
    assert total.usage == Usage(3, 7, raw={"input_tokens": 3, "output_tokens": 7})
    assert total.extra == {}


def test_events_that_say_nothing_give_no_chunk():
    assert read(begin(0, "text", text=""), delta(0, "text_delta", text=""), stop(0), STOP) == []


def test_every_chunk_has_the_object_that_it_came_from():
    event = delta(0, "text_delta", text="a")
    assert read(event) == [Chunk("a", raw=event)]


def test_text_that_stands_in_the_beginning_of_its_block_counts():
    assert result(begin(0, "text", text="He"), delta(0, "text_delta", text="llo")).content == (
        "Hello"
    )


def test_the_stream_is_done_with_its_last_event_and_not_before():
    dialect = AnthropicDialect(set())
    for event in (START, end()):
        dialect.read(event, [], event)
        assert not dialect.done
    dialect.read(STOP, [], STOP)
    assert dialect.done


def test_a_message_that_only_stops_has_no_finish_reason():
    assert result(START, STOP).finish_reason is None


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        ("tired", "tired"),
    ],
)
def test_reasons_are_given_in_common_words_and_unknown_ones_as_they_are(reason, word):
    assert result(START, end(reason)).finish_reason == word


def test_what_else_is_said_of_the_message_is_kept_once():
    box = {"id": "container_1", "expires_at": "tomorrow"}
    metrics = {"inputTokenCount": 3}
    start = {**START, "message": {**START["message"], "container": box}}
    total = result(
        start,
        end("stop_sequence", stop_sequence="END", container=box, stop_details=None),
        {**STOP, "amazon-bedrock-invocationMetrics": metrics},
    )
    assert total.extra == {
        "container": box,
        "stop_sequence": "END",
        "amazon-bedrock-invocationMetrics": metrics,
    }


def test_unknown_events_are_passed_over():
    assert read({"type": "weather", "rain": True}, {}) == []


def test_unknown_deltas_and_fields_are_kept_under_their_own_names():
    total = result(
        begin(0, "text", text="", mood="glad"),
        delta(0, "text_delta", text="a", weight=2),
        delta(0, "sound_delta", sound="moo"),
    )
    assert total.content == "a"
    assert total.extra == {
        "mood": "glad",
        "weight": 2,
        "sound_delta": [{"type": "sound_delta", "sound": "moo"}],
    }


def test_unknown_blocks_are_kept_and_grow_with_their_deltas():
    total = result(
        begin(0, "compaction", content=None),
        delta(0, "compaction_delta", content="Summed "),
        delta(0, "compaction_delta", content="up.", sealed=True),
        stop(0),
        begin(1, "fallback", to={"model": "m"}),
        stop(1),
    )
    assert total.extra == {
        "compaction": [{"type": "compaction", "content": "Summed up.", "sealed": True, "index": 0}],
        "fallback": [{"type": "fallback", "to": {"model": "m"}, "index": 0}],
    }


def test_citations_are_annotations():
    first, second = {"type": "char_location", "cited_text": "a"}, {"type": "page_location"}
    total = result(
        begin(0, "text", text="", citations=[first]),
        delta(0, "citations_delta", citation=second),
    )
    assert total.extra == {"annotations": [first, second]}


# Usage


def test_the_prompt_counts_with_what_the_cache_gave_and_took():
    start = {
        **START,
        "message": {
            "usage": {
                "input_tokens": 3,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 20,
                "output_tokens": 1,
            }
        },
    }
    usage = result(start, end(usage={"output_tokens": 9, "input_tokens": None})).usage
    assert (usage.prompt_tokens, usage.cached_tokens) == (123, 100)
    assert (usage.completion_tokens, usage.total_tokens) == (9, None)
    assert usage.raw["input_tokens"] == 3


def test_later_totals_take_the_place_of_earlier_ones():
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 0}}}
    usage = result(start, end(usage={"input_tokens": 32, "output_tokens": 16})).usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (32, 16)


def test_a_number_that_is_not_given_is_none():
    usage = result(START, end(usage={"cache_read_input_tokens": 5})).usage
    assert usage.cached_tokens == 5
    assert result({"type": "message_start", "message": {}}, end()).usage is None
    only_output = result(end(usage={"output_tokens": 2, "input_tokens": "many"})).usage
    assert (only_output.prompt_tokens, only_output.completion_tokens) == (None, 2)


@pytest.mark.parametrize(
    ("details", "tokens"),
    [({"thinking_tokens": 5}, 5), ({"thinking_tokens": "5"}, None), ({}, None), ("x", None)],
)
def test_thinking_is_counted_where_the_server_does(details, tokens):
    usage = result(START, end(usage={"output_tokens": 9, "output_tokens_details": details})).usage
    assert (usage.completion_tokens, usage.reasoning_tokens) == (9, tokens)


def test_usage_before_the_end_ends_nothing():
    total = result(
        begin(0, "tool_use", id="t", name="f", input={}),
        end(None, usage={"output_tokens": 2}),
        delta(0, "input_json_delta", partial_json='{"a": 1}'),
        stop(0),
    )
    assert (total.finish_reason, total.usage.completion_tokens) == (None, 2)
    assert total.incomplete_tool_calls == [call("t", "f", '{"a": 1}')]


def test_the_usage_of_each_chunk_is_its_own():
    first, last = (chunk.usage for chunk in read(START, end(usage={"output_tokens": 9})))
    assert (first.completion_tokens, first.raw["output_tokens"]) == (1, 1)
    assert (last.completion_tokens, last.raw["output_tokens"]) == (9, 9)


# Reasoning


def test_thinking_is_reasoning_and_can_be_sent_back():
    total = result(
        begin(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Let me"),
        delta(0, "thinking_delta", thinking=" see."),
        delta(0, "signature_delta", signature="SIG"),
        stop(0),
        begin(1, "redacted_thinking", data="XXX"),
        stop(1),
        begin(2, "thinking", thinking="And?"),
        stop(2),
    )
    assert total.reasoning == "Let me see.And?"
    labels = {"type": "reasoning.text", "format": FORMAT}
    assert total.extra["reasoning_details"] == [
        {**labels, "text": "Let me see.", "signature": "SIG", "index": 0},
        {"type": "reasoning.encrypted", "data": "XXX", "format": FORMAT, "index": 1},
        {**labels, "text": "And?", "index": 2},
    ]


def test_thinking_that_is_not_shown_keeps_its_signature():
    total = result(
        begin(0, "thinking", thinking="", signature="OLD"),
        delta(0, "thinking_delta", thinking="", estimated_tokens=50),
        delta(0, "signature_delta", signature="NEW"),
        stop(0),
    )
    assert total.reasoning == ""
    assert total.extra["estimated_tokens"] == 50
    (detail,) = total.extra["reasoning_details"]
    assert (detail["text"], detail["signature"]) == ("", "NEW")


def test_a_signature_that_is_not_stopped_comes_with_the_end():
    total = result(delta(0, "signature_delta", signature="SIG"), end())
    assert total.extra["reasoning_details"][0]["signature"] == "SIG"


def test_thinking_without_a_block_of_its_own_is_read_and_noted():
    quirks = set()
    total = result(
        delta(0, "thinking_delta", thinking="Hm"),
        begin(1, "text", text=""),
        delta(1, "thinking_delta", thinking=", hm"),
        quirks=quirks,
    )
    assert total.reasoning == "Hm, hm"
    assert [detail["text"] for detail in total.extra["reasoning_details"]] == ["Hm", ", hm"]
    assert quirks == {"block_without_start"}


# Tool calls


def test_calls_are_numbered_from_zero_and_their_fragments_joined():
    chunks = read(
        begin(0, "text", text=""),
        stop(0),
        begin(1, "tool_use", id="toolu_1", name="look", input={}),
        delta(1, "input_json_delta", partial_json=""),
        delta(1, "input_json_delta", partial_json='{"a"'),
        delta(1, "input_json_delta", partial_json=": 1}"),
        stop(1),
        begin(2, "tool_use", id="toolu_2", name="hear", input={}),
        delta(2, "input_json_delta", partial_json='{"b": 2}'),
        stop(2),
    )
    assert [call for chunk in chunks for call in chunk.tool_calls] == [
        ToolCallDelta(0, "toolu_1", "look"),
        ToolCallDelta(0, arguments='{"a"'),
        ToolCallDelta(0, arguments=": 1}"),
        ToolCallDelta(1, "toolu_2", "hear"),
        ToolCallDelta(1, arguments='{"b": 2}'),
    ]


@pytest.mark.parametrize(
    ("given", "fragments", "arguments"),
    [
        ({}, [], "{}"),
        ({}, [""], "{}"),
        (None, [], "{}"),
        ("", [], "{}"),
        ({"city": "Köln"}, [], '{"city": "Köln"}'),
        ({"city": "Köln"}, [""], '{"city": "Köln"}'),
        ('{"city": 1}', [], '{"city": 1}'),
        ({"city": "old"}, ['{"city": "new"}'], '{"city": "new"}'),
    ],
)
def test_an_input_that_came_whole_or_not_at_all_gives_the_arguments(given, fragments, arguments):
    total = result(
        begin(0, "tool_use", id="t", name="f", input=given),
        *[delta(0, "input_json_delta", partial_json=piece) for piece in fragments],
        stop(0),
        end("tool_use"),
    )
    assert total.tool_calls == [call("t", "f", arguments)]


@pytest.mark.parametrize("last", [end("max_tokens"), end("pause_turn"), STOP, START])
def test_a_call_that_is_cut_before_its_input_has_none(last):
    chunks = read(START, begin(0, "tool_use", id="t", name="f", input={}), last)
    assert [piece.arguments for chunk in chunks for piece in chunk.tool_calls] == [""]


def test_a_call_without_input_that_is_not_stopped_is_whole_if_the_message_is():
    total = result(begin(0, "tool_use", id="t", name="f", input={}), end("tool_use"))
    assert total.tool_calls == [call("t", "f", "{}")]


@pytest.mark.parametrize("last", [end("tool_use"), STOP, begin(0, "text", text="")])
def test_a_block_that_is_not_stopped_is_ended_by_what_follows(last):
    total = result(begin(0, "tool_use", id="t", name="f", input={"a": 1}), last, end("tool_use"))
    assert total.tool_calls == [call("t", "f", '{"a": 1}')]


def test_a_call_that_is_cut_is_not_finished():
    total = result(
        START,
        begin(0, "tool_use", id="t", name="f", input={}),
        delta(0, "input_json_delta", partial_json='{"a'),
        stop(0),
        end("max_tokens"),
    )
    assert total.tool_calls == []
    assert total.incomplete_tool_calls == [call("t", "f", '{"a')]


def test_a_missing_id_stays_missing():
    (chunk,) = read(begin(0, "tool_use", input={}))
    assert chunk.tool_calls == (ToolCallDelta(0),)


def test_a_call_keeps_who_called_it():
    (chunk,) = read(begin(0, "tool_use", id="t", name="f", input={}, caller={"type": "direct"}))
    assert chunk.tool_calls[0].extra == {"caller": {"type": "direct"}}


def test_arguments_without_a_block_are_a_call_without_a_name():
    quirks = set()
    (chunk,) = read(delta(0, "input_json_delta", partial_json="{"), quirks=quirks)
    assert chunk.tool_calls == (ToolCallDelta(0, arguments="{"),)
    assert quirks == {"block_without_start"}


def test_arguments_of_a_text_are_no_call():
    total = result(begin(0, "text", text=""), delta(0, "input_json_delta", partial_json="{"))
    assert total.incomplete_tool_calls == []
    assert total.extra == {"input_json_delta": [{"type": "input_json_delta", "partial_json": "{"}]}


def test_tools_of_the_server_are_no_calls():
    found = {"type": "web_search_tool_result", "tool_use_id": "srv_1", "content": []}
    total = result(
        begin(0, "server_tool_use", id="srv_1", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json='{"query":'),
        delta(0, "input_json_delta", partial_json=' "x"}'),
        stop(0),
        begin(1, "web_search_tool_result", tool_use_id="srv_1", content=[]),
        stop(1),
        begin(2, "mcp_tool_use", id="mcp_1", name="echo", server_name="e", input={"a": "ö"}),
        stop(2),
        end(),
    )
    assert total.tool_calls == total.incomplete_tool_calls == []
    first, second = total.extra["server_tool_calls"]
    assert first == {
        "index": 0,
        "type": "server_tool_use",
        "id": "srv_1",
        "name": "web_search",
        "arguments": '{"query": "x"}',
    }
    assert (second["index"], second["server_name"]) == (1, "e")
    assert (second["name"], second["arguments"]) == ("echo", '{"a": "ö"}')
    assert total.extra["server_tool_results"] == [found]


# Answers in other shapes


MESSAGE = {
    **START["message"],
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "SIG"},
        {"type": "text", "text": "Look:"},
        {"type": "tool_use", "id": "t", "name": "f", "input": {"a": 1}},
    ],
    "stop_reason": "tool_use",
}


def check_message(total):
    assert (total.id, total.role, total.reasoning) == ("msg_1", "assistant", "Hm.")
    assert (total.content, total.finish_reason) == ("Look:", "tool_calls")
    assert total.tool_calls == [call("t", "f", '{"a": 1}')]
    assert total.extra["reasoning_details"][0]["signature"] == "SIG"
    assert total.usage.prompt_tokens == 3


def test_an_answer_that_is_not_streamed_is_read():
    quirks = set()
    dialect, chunks, total = AnthropicDialect(quirks), [], Accumulator()
    dialect.read(MESSAGE, chunks, MESSAGE)
    for chunk in chunks:
        total.feed(chunk, 0.0)
    check_message(total.result())
    assert dialect.done
    assert quirks == {"answer_not_streamed"}


def test_a_message_that_has_content_from_the_start_is_read():
    check_message(result({"type": "message_start", "message": MESSAGE}, STOP))


def test_a_message_that_starts_twice_is_one_and_its_calls_stay_apart():
    quirks = set()
    tool = {"name": "f", "input": {}}
    total = result(
        START,
        begin(0, "tool_use", id="t1", **tool),
        {**START, "message": {**START["message"], "id": "msg_2", "usage": {"output_tokens": 5}}},
        begin(0, "tool_use", id="t2", **tool),
        delta(0, "input_json_delta", partial_json='{"a": 1}'),
        stop(0),
        end("tool_use"),
        quirks=quirks,
    )
    assert total.id == "msg_1"
    assert [call["id"] for call in total.tool_calls] == ["t1", "t2"]
    assert total.tool_calls[1]["function"]["arguments"] == '{"a": 1}'
    assert total.usage == Usage(completion_tokens=5, raw={"output_tokens": 5})
    assert quirks == {"message_start_repeated"}


def test_what_the_sdk_derives_doubles_nothing():
    text = {"type": "text", "text": "Hi", "citations": [{"type": "page_location"}]}
    total = result(
        START,
        begin(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Hm"),
        {"type": "thinking", "thinking": "Hm", "snapshot": "Hm"},
        delta(0, "signature_delta", signature="SIG"),
        {"type": "signature", "signature": "SIG"},
        {**stop(0), "content_block": {"type": "thinking", "thinking": "Hm", "signature": "SIG"}},
        begin(1, "text", text=""),
        delta(1, "text_delta", text="Hi"),
        {"type": "text", "text": "Hi", "snapshot": "Hi"},
        delta(1, "citations_delta", citation={"type": "page_location"}),
        {"type": "citation", "citation": {"type": "page_location"}, "snapshot": []},
        {**stop(1), "content_block": text},
        begin(2, "tool_use", id="t", name="f", input={}),
        delta(2, "input_json_delta", partial_json="{}"),
        {"type": "input_json", "partial_json": "{}", "snapshot": {}},
        {**stop(2), "content_block": {"type": "tool_use", "id": "t", "name": "f", "input": {}}},
        end("tool_use", usage={"output_tokens": 4}),
        {**STOP, "message": {**START["message"], "content": [text], "stop_reason": "tool_use"}},
    )
    assert (total.content, total.reasoning) == ("Hi", "Hm")
    assert total.tool_calls == [call("t", "f", "{}")]
    assert total.extra == {
        "reasoning_details": [
            {
                "type": "reasoning.text",
                "text": "Hm",
                "signature": "SIG",
                "format": FORMAT,
                "index": 0,
            }
        ],
        "annotations": [{"type": "page_location"}],
    }


# Errors


@pytest.mark.parametrize(
    ("event", "message", "kind"),
    [
        (
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            "Overloaded",
            "overloaded_error",
        ),
        ({"type": "error", "message": "no"}, "no", None),
        ({"error": {"type": "api_error", "message": "no"}}, "no", "api_error"),
        ({"type": "exception", "error": "boom"}, "boom", "exception"),
        ({"detail": "no"}, "no", None),
    ],
)
def test_reported_errors_are_raised(event, message, kind):
    with pytest.raises(StreamAPIError) as caught:
        read(START, event)
    assert (caught.value.message, caught.value.type) == (message, kind)


@pytest.mark.parametrize(
    ("event", "where"),
    [
        ({"type": "message_start"}, "message"),
        ({"type": "message_start", "message": {"content": "Hi"}}, "content"),
        ({"type": "message_start", "message": {"content": ["Hi"]}}, r"content\[0\]"),
        ({"type": "message_start", "message": {"usage": [1]}}, "usage"),
        ({"type": "content_block_start", "index": 0}, "content_block"),
        (begin(0, None), "content_block.type"),
        (begin(0, "text", text=7), "text"),
        (begin(0, "tool_use", id=7), "tool_use.id"),
        (begin(0, "tool_use", id="t", name=["f"]), "tool_use.name"),
        ({"type": "content_block_delta", "index": 0, "delta": "Hi"}, "delta"),
        (delta(0, None), "delta.type"),
        (delta(0, "text_delta", text=["Hi"]), "text"),
        (delta(0, "thinking_delta", thinking=1), "thinking"),
        (delta(0, "signature_delta", signature={}), "signature"),
        (delta(0, "input_json_delta", partial_json={"a": 1}), "partial_json"),
        ({"type": "message_delta", "delta": [1]}, "delta"),
        (end(7), "stop_reason"),
    ],
)
def test_a_field_of_an_impossible_type_is_named(event, where):
    with pytest.raises(StreamProtocolError, match=rf"^`{where}` is a "):
        read(event)


def test_garbage_gives_chunks_or_one_of_the_two_errors():
    chance = random.Random(1)
    events = [
        {"type": "message_start", "message": MESSAGE},
        begin(0, "thinking", thinking="a", signature="s"),
        begin(1, "server_tool_use", id="s", name="f", input={"a": 1}),
        begin(2, "what", extra=0, arguments={}),
        *[begin(3, "tool_use", id="t", name="f", input={}) for _ in range(2)],
        delta(0, "thinking_delta", thinking="a"),
        delta(1, "input_json_delta", partial_json="{"),
        delta(2, "what_delta", what="a"),
        delta(3, "input_json_delta", partial_json="{"),
        stop(3),
        end("tool_use", usage={"output_tokens": 1}),
        {"type": "error", "error": {"type": "a", "message": "b"}},
        STOP,
    ]
    junk = [None, True, -1, 1.5, "", "x", [], [1], {}, {"type": "text"}, [[]], {"index": {}}]

    def spoiled(value):
        if chance.random() < 0.1:
            return chance.choice(junk)
        if isinstance(value, dict):
            return {name: spoiled(item) for name, item in value.items() if chance.random() > 0.05}
        return [spoiled(item) for item in value] if isinstance(value, list) else value

    chunks = failures = 0
    for _ in range(400):
        dialect, total, found = AnthropicDialect(set()), Accumulator(), []
        for event in map(spoiled, events):
            if isinstance(event, dict):
                AnthropicDialect.recognises(event)
                try:
                    dialect.read(event, found, event)
                except (StreamAPIError, StreamProtocolError):
                    failures += 1
        for chunk in found:
            total.feed(chunk, 0.0)
        json.dumps(total.result().extra)
        chunks += len(found)
    assert chunks > 1000
    assert failures > 400


def test_the_address_and_the_headers_are_anthropics():
    assert AnthropicDialect.root + AnthropicDialect.path("claude-x") == "/v1/messages"
    assert AnthropicDialect.request_headers("sk-ant-1") == {
        "anthropic-version": "2023-06-01",
        "x-api-key": "sk-ant-1",
    }
    assert AnthropicDialect.request_headers(None) == {"anthropic-version": "2023-06-01"}


def test_an_answer_can_be_sent_back():
    answer = result({"type": "message_start", "message": MESSAGE}, STOP).to_message()
    before = json.dumps(answer)
    done = {"role": "tool", "tool_call_id": "t", "content": "2"}
    hello = {"role": "user", "content": "Hello"}
    assert AnthropicDialect.request_body(Chat([hello, answer, done]))["messages"] == [
        hello,
        {"role": "assistant", "content": MESSAGE["content"]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t", "content": "2"}],
        },
    ]
    assert json.dumps(answer) == before


def test_an_answer_that_is_plain_text_can_be_gone_on_with():
    lost = {"messages": [{"role": "user", "content": "Hello"}]}
    assert AnthropicDialect.can_be_continued(lost)
    sent, _ = AnthropicDialect.continued_body(lost, "Once", "https://x", "auto", "Go on")
    assert [message["content"] for message in sent["messages"]] == ["Hello", "Once", "Go on"]
