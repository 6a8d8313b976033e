"""Chat Completions: what is asked of a server, and what its objects say."""

import json

import pytest

from llm_kit import Chat, Chunk, StreamAPIError, StreamProtocolError, ToolCallDelta, Usage
from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects import find_dialect
from llm_kit.dialects.openai import OpenAIDialect

USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def read(*payloads):
    """The chunks of these objects, in one stream."""
    dialect, chunks = OpenAIDialect(set()), []
    for payload in payloads:
        dialect.read(payload, chunks, payload)
    return chunks


def chunk_of(delta, **choice):
    """The one chunk of a choice with this delta."""
    (chunk,) = read({"choices": [{"index": 0, "delta": delta, **choice}]})
    return chunk


def call_of(call):
    (delta,) = chunk_of({"tool_calls": [call]}).tool_calls
    return delta


def test_is_found_by_name():
    assert find_dialect("openai") is OpenAIDialect


def test_an_unknown_dialect_is_named_with_those_that_exist():
    with pytest.raises(ValueError, match=r"unknown dialect 'klingon'; .* 'openai'"):
        find_dialect("klingon")


# The request


@pytest.mark.parametrize(
    ("key", "headers"),
    [("sk-1", {"authorization": "Bearer sk-1"}), ("", {}), (None, {})],
)
def test_the_key_is_a_bearer_token(key, headers):
    assert OpenAIDialect.request_headers(key) == headers


def test_the_model_does_not_stand_in_the_path():
    assert (OpenAIDialect.root, OpenAIDialect.path("m")) == ("", "/chat/completions")


@pytest.mark.parametrize(
    ("body", "status", "answer", "option"),
    [
        ({"stream_options": {}}, 400, "unknown: stream_options", "stream_options"),
        ({"stream_options": {}}, 422, "unknown: stream_options", "stream_options"),
        ({"stream_options": {}}, 500, "unknown: stream_options", None),
        ({"stream_options": {}}, 400, "unknown: model", None),
        ({}, 400, "unknown: stream_options", None),
    ],
)
def test_a_request_can_do_without_the_question_for_usage(body, status, answer, option):
    assert OpenAIDialect.refused_option(body, status, answer) == option


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        ({"model": None, "include_usage": False}, {}),
        ({"model": "m", "include_usage": False}, {"model": "m"}),
        (
            {"model": None, "include_usage": True},
            {"stream_options": {"include_usage": True}},
        ),
        (
            {"model": None, "include_usage": True, "params": {"stream_options": {"x": 1}}},
            {"stream_options": {"include_usage": True, "x": 1}},
        ),
        (
            {"include_usage": True, "params": {"stream_options": {"include_usage": False}}},
            {"stream_options": {"include_usage": False}},
        ),
        ({"include_usage": True, "params": {"stream_options": None}}, {"stream_options": None}),
        (
            {"model": None, "include_usage": False, "params": {"seed": 4}, "n": 2},
            {"seed": 4, "n": 2},
        ),
    ],
)
def test_the_request_body(arguments, more):
    messages = [{"role": "user", "content": "Hello"}]
    body = OpenAIDialect.request_body(Chat(messages, **arguments))
    assert body == {"messages": messages, "stream": True, **more}


def test_a_custom_tools_call_goes_back_in_its_own_form():
    function = {"name": "run", "arguments": "print(1)"}
    mine = {"id": "c", "type": "custom", "function": function, "x": 1}
    others = [
        {"id": "d", "type": "function", "function": function},
        {"id": "e", "type": "custom", "custom": {"name": "run", "input": ""}},
        "anything",
    ]
    user = {"role": "user", "content": "Hello"}
    asked = {"role": "assistant", "content": None, "tool_calls": [mine, *others]}
    sent = OpenAIDialect.request_body(Chat([user, asked, {"tool_calls": 5}]))["messages"]
    custom = {"name": "run", "input": "print(1)"}
    assert sent[1]["tool_calls"] == [
        {"id": "c", "type": "custom", "x": 1, "custom": custom},
        *others,
    ]
    assert (sent[0], sent[2]) == (user, {"tool_calls": 5})
    assert asked["tool_calls"][0] is mine
    assert mine["function"] is function


# One chunk


def test_a_chunk_has_all_that_its_object_says():
    payload = {
        "id": "chatcmpl-1",
        "model": "m",
        "created": 17,
        "system_fingerprint": "fp",
        "choices": [
            {
                "index": 2,
                "delta": {"role": "assistant", "content": "Hi", "refusal": "no"},
                "logprobs": {"content": []},
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
    }
    (chunk,) = read(payload)
    assert chunk == Chunk(
        delta="Hi",
        index=2,
        role="assistant",
        refusal="no",
        finish_reason="stop",
        usage=Usage(3, 4, 7, raw=USAGE),
        logprobs={"content": []},
        id="chatcmpl-1",
        model="m",
        created=17,
        system_fingerprint="fp",
        raw=payload,
    )
    assert chunk.raw is payload
    assert chunk.is_done


@pytest.mark.parametrize("delta", [None, {}, {"content": None}, {"content": ""}, {"role": ""}])
def test_absent_stays_absent(delta):
    payload = {"id": "", "model": "", "choices": [{"index": 0, "delta": delta}]}
    assert read(payload) == [Chunk(raw=payload)]


@pytest.mark.parametrize(
    "fields",
    [{"id": 5}, {"model": ["m"]}, {"created": "today"}, {"created": True}, {"created": 1.5}],
)
def test_labels_of_a_wrong_type_are_absent(fields):
    (chunk,) = read({**fields, "system_fingerprint": 3, "choices": [{"delta": {"content": "x"}}]})
    assert chunk == Chunk("x", raw=chunk.raw)


def test_labels_that_change_are_told_as_they_come():
    one, other = {"id": "a", "model": "m", "created": 1}, {"id": "a", "model": "n", "created": 2}
    choices = [{"delta": {"content": "x"}}]
    chunks = read(*({**labels, "choices": choices} for labels in (one, one, other, one)))
    assert [(chunk.model, chunk.created) for chunk in chunks] == [
        ("m", 1), ("m", 1), ("n", 2), ("m", 1),
    ]  # fmt: skip


def test_labels_nested_too_deep_to_be_compared():
    def deep():
        nested = []
        for _ in range(10_000):
            nested = [nested]
        return {"id": nested, "model": "m", "choices": [{"delta": {"content": "x"}}]}

    assert [(chunk.id, chunk.model) for chunk in read(deep(), deep())] == [(None, "m")] * 2


@pytest.mark.parametrize("index", [None, "1", True, 1.0])
def test_a_choice_without_a_number_is_numbered_by_its_place(index):
    payload = {"choices": [{"index": index, "delta": {}}, {"index": index, "delta": {}}]}
    assert [chunk.index for chunk in read(payload)] == [0, 1]


def test_choices_come_in_the_order_of_the_wire():
    one, two = {"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}
    chunks = read({"choices": [one, two], "usage": USAGE})
    assert [(chunk.index, chunk.delta) for chunk in chunks] == [(1, "b"), (0, "a")]
    assert [chunk.usage is not None for chunk in chunks] == [True, False]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"choices": []},
        {"choices": None},
        {"object": "", "choices": [], "prompt_filter_results": [{"prompt_index": 0}]},
        {"obfuscation": "abc"},
        {"choices": [], "usage": None},
    ],
)
def test_objects_that_say_nothing_give_no_chunk(payload):
    assert read(payload) == []


@pytest.mark.parametrize(
    ("word", "common"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("content_filter", "content_filter"),
        ("function_call", "function_call"),
        ("end_turn", "stop"),
        ("eos", "stop"),
        ("COMPLETE", "stop"),
        ("MAX_TOKENS", "length"),
        ("model_length", "length"),
        ("model_context_window_exceeded", "length"),
        ("TOOL_CALL", "tool_calls"),
        ("sensitive", "content_filter"),
        ("guardrail_intervened", "content_filter"),
        ("error", "error"),
        ("network_error", "network_error"),
        ("a new one", "a new one"),
        ("content_filtered", "content_filter"),
        ("null", None),
        ("", None),
        (None, None),
    ],
)
def test_finish_reasons_in_the_common_words(word, common):
    assert chunk_of({}, finish_reason=word).finish_reason == common


# The delta


def test_content_as_a_list_of_parts():
    thinking = [{"type": "text", "text": "Hm"}, {"type": "text", "text": "."}, "x", {"text": 5}]
    chunk = chunk_of(
        {
            "content": [
                {"type": "thinking", "thinking": thinking},
                {"type": "thinking", "thinking": " Well"},
                {"type": "text", "text": "Yes"},
                "!",
                {"type": "reference", "reference_ids": [1]},
            ]
        }
    )
    assert (chunk.delta, chunk.reasoning) == ("Yes!", "Hm. Well")


@pytest.mark.parametrize(
    ("delta", "reasoning"),
    [
        ({"reasoning_content": "a"}, "a"),
        ({"reasoning": "a"}, "a"),
        ({"reasoning_content": "", "reasoning": "a"}, "a"),
        ({"reasoning_content": None, "reasoning": None}, ""),
        ({"reasoning_content": "a", "reasoning": "a"}, "a"),
        ({"reasoning_content": "a", "reasoning_details": [{"text": "a"}]}, "a"),
        ({"reasoning": "", "reasoning_details": [{"text": "a"}, {"summary": "b"}]}, "ab"),
        ({"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}, "y"]}, ""),
        ({"reasoning_details": [{"text": ["no text"]}, {"text": None, "summary": "b"}]}, "b"),
        ({"reasoning_details": []}, ""),
        ({"content": "c", "reasoning": "a"}, "a"),
        ({"reasoning": {"text": "a"}}, "a"),
        ({"reasoning": {"effort": "low"}}, ""),
        ({"reasoning": {"text": 5}}, ""),
        ({"content": [{"type": "reasoning", "summary": [{"text": "a"}, {"text": "b"}]}]}, "ab"),
        ({"content": [{"type": "reasoning", "text": "a"}]}, "a"),
    ],
)
def test_reasoning_is_read_once(delta, reasoning):
    assert chunk_of(delta).reasoning == reasoning


def test_fields_without_a_home_are_kept():
    details = [{"text": "t", "signature": "s"}]
    delta = {"reasoning_details": details, "audio": {"id": "a"}, "empty": "", "nil": None, "l": []}
    assert chunk_of(delta).extra == {"reasoning_details": details, "audio": {"id": "a"}}
    assert chunk_of({"content": "x", "padding": ""}).extra is None
    assert chunk_of({"content": "x", "index": 1, "role": "assistant"}).extra is None


@pytest.mark.parametrize(
    ("reasoning", "kept"),
    [({"text": "a", "n": 1}, {"n": 1}), ({"text": 5}, {"text": 5}), ({"effort": "low"},) * 2],
)
def test_what_else_a_thought_says_is_kept(reasoning, kept):
    assert chunk_of({"content": "x", "reasoning": reasoning}).extra == {"reasoning": kept}


def test_a_signed_summary_is_kept_whole():
    signed = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a", "sig": "s"}]}
    chunk = chunk_of({"content": [signed]})
    assert (chunk.reasoning, chunk.extra) == ("a", {"content_parts": [signed]})
    plain = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}]}
    assert chunk_of({"content": [plain]}).extra is None


def details_read(*deltas):
    """The reasoning of deltas, and the details of it added up."""
    total = Accumulator()
    for chunk in read(*({"choices": [{"delta": delta}]} for delta in deltas)):
        total.feed(chunk, 0.0)
    result = total.result()
    return result.reasoning, result.extra


def thinking(text, signature=None):
    return {"type": "thinking", "thinking": text, "signature": signature}


CLAUDE = {"format": "anthropic-claude-v1"}


@pytest.mark.parametrize("told", [True, False])
def test_claudes_thinking_behind_a_gateway_is_put_together(told):
    sealed = {"type": "redacted_thinking", "data": "X"}
    blocks = [thinking("Hm"), thinking("."), thinking("", "S"), sealed, thinking("So", "T")]
    deltas = [
        {"thinking_blocks": [block]}
        | ({"reasoning_content": block["thinking"]} if told and block.get("thinking") else {})
        for block in blocks
    ]
    reasoning, extra = details_read(*deltas)
    assert reasoning == "Hm.So"
    assert extra == {
        "reasoning_details": [
            {"type": "reasoning.text", "text": "Hm.", "signature": "S", "index": 0, **CLAUDE},
            {"type": "reasoning.encrypted", "data": "X", "index": 1, **CLAUDE},
            {"type": "reasoning.text", "text": "So", "signature": "T", "index": 2, **CLAUDE},
        ]
    }


def test_thinking_that_is_said_twice_is_kept_once():
    blocks = {"thinking_blocks": [thinking("Hm")]}
    chunk = chunk_of({**blocks, "provider_specific_fields": blocks, "audio": {"id": "a"}})
    assert set(chunk.extra) == {"audio", "reasoning_details"}
    other = {"provider_specific_fields": {"citation": "c"}}
    assert chunk_of({"thinking_blocks": [thinking("", "")], **other}).extra == other


def test_choices_think_apart():
    blocks = {"thinking_blocks": [thinking("Hm")]}
    chunks = read({"choices": [{"index": index, "delta": blocks} for index in (0, 1)]})
    assert [chunk.extra["reasoning_details"][0]["index"] for chunk in chunks] == [0, 0]


@pytest.mark.parametrize(
    "delta",
    [
        {"thinking_blocks": "x"},
        {"thinking_blocks": ["x"]},
        {"thinking_blocks": [{"type": "new"}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": 5}]},
        {"thinking_blocks": [thinking("a")], "reasoning_details": [{"text": "a"}]},
    ],
)
def test_thinking_of_another_form_is_kept_as_it_is(delta):
    assert chunk_of(delta).extra == delta


@pytest.mark.parametrize("role", [None, "", 5])
def test_a_role_that_is_no_word_is_absent(role):
    assert chunk_of({"role": role, "content": "x"}).role is None


@pytest.mark.parametrize("delta", [{"x": False}, {"x": 0}])
def test_false_and_zero_are_values(delta):
    assert chunk_of(delta).extra == delta


# Tool calls


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            {"index": 1, "id": "c", "type": "function", "function": {"name": "f"}},
            ToolCallDelta(1, "c", "f", ""),
        ),
        ({"function": {"arguments": '{"a'}}, ToolCallDelta(arguments='{"a')),
        (
            {"index": 0, "id": None, "function": {"name": None, "arguments": None}},
            ToolCallDelta(0),
        ),
        (
            {"index": 0, "id": "", "type": None, "function": {"name": "", "arguments": ""}},
            ToolCallDelta(0, "", ""),
        ),
        ({"index": "0", "function": None}, ToolCallDelta()),
        ({"index": True}, ToolCallDelta()),
        (
            {"function": {"name": "f", "arguments": {"city": "Zürich"}}},
            ToolCallDelta(None, None, "f", '{"city": "Zürich"}'),
        ),
        (
            {"index": 0, "id": "c", "type": "custom", "custom": {"name": "f", "input": ""}},
            ToolCallDelta(0, "c", "f", extra={"type": "custom"}),
        ),
        (
            {"index": 0, "custom": {"input": "print("}, "x": 1},
            ToolCallDelta(0, arguments="print(", extra={"x": 1, "type": "custom"}),
        ),
        ({"index": 0, "custom": None}, ToolCallDelta(0)),
        (
            {"index": 0, "extra_content": {"google": {"thought_signature": "s"}}, "x": None},
            ToolCallDelta(0, extra={"extra_content": {"google": {"thought_signature": "s"}}}),
        ),
    ],
)
def test_pieces_of_tool_calls(call, expected):
    assert call_of(call) == expected


def test_several_calls_in_one_delta():
    calls = [{"index": 0, "id": "a"}, {"index": 1, "id": "b"}]
    assert [call.id for call in chunk_of({"tool_calls": calls}).tool_calls] == ["a", "b"]


@pytest.mark.parametrize("calls", [None, []])
def test_no_calls(calls):
    assert chunk_of({"tool_calls": calls, "function_call": None}).tool_calls == ()


def test_the_deprecated_function_call():
    delta = {"function_call": {"name": "f", "arguments": "{}"}}
    assert chunk_of(delta).tool_calls == (ToolCallDelta(0, None, "f", "{}"),)


# Usage


def test_usage_in_detail():
    usage = {
        **USAGE,
        "completion_tokens_details": {"reasoning_tokens": 2},
        "prompt_tokens_details": {"cached_tokens": 1},
        "cost": 0.5,
    }
    (chunk,) = read({"choices": [], "usage": usage})
    assert chunk.usage == Usage(3, 4, 7, 2, 1, usage)
    assert chunk.usage.raw["cost"] == 0.5


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({"cached_tokens": 4}, (None, 4)),
        ({"prompt_cache_hit_tokens": 4}, (None, 4)),
        ({"reasoning_tokens": 2}, (2, None)),
        ({"reasoning_tokens": 0, "cached_tokens": 0}, (None, None)),
        ({"cached_tokens": 4, "prompt_tokens_details": {"cached_tokens": 0}}, (None, 0)),
        ({"reasoning_tokens": 4, "completion_tokens_details": {"reasoning_tokens": 0}}, (0, None)),
    ],
)
def test_counts_that_stand_on_top_count_where_there_are_no_details(fields, counts):
    (chunk,) = read({"choices": [], "usage": fields})
    assert (chunk.usage.reasoning_tokens, chunk.usage.cached_tokens) == counts


def test_empty_usage_is_none():
    assert read({"choices": [], "usage": {}}) == []
    (chunk,) = read({"choices": [{"delta": {"content": "x"}, "usage": USAGE}], "usage": {}})
    assert chunk.usage.total_tokens == 7
    (chunk,) = read({"choices": [{"delta": {"content": "x"}}], "x_groq": {"usage": {}}})
    assert chunk.usage is None


@pytest.mark.parametrize(
    "details", [None, [], "x", {"reasoning_tokens": "2"}, {"reasoning_tokens": 2.5}]
)
def test_counts_that_are_no_numbers_are_absent(details):
    usage = {"prompt_tokens": None, "total_tokens": True, "completion_tokens_details": details}
    (chunk,) = read({"choices": [], "usage": usage})
    assert chunk.usage == Usage(raw=usage)


@pytest.mark.parametrize(
    ("around", "choice", "tokens"),
    [
        ({"usage": USAGE}, {}, 4),
        ({"x_groq": {"id": "r", "usage": USAGE}}, {}, 4),
        ({"usage": USAGE, "x_groq": {"usage": {"completion_tokens": 9}}}, {}, 4),
        ({}, {"usage": USAGE}, 4),
        ({"usage": None}, {"usage": USAGE}, 4),
        ({"usage": USAGE}, {"usage": {"completion_tokens": 9}}, 4),
        ({"x_groq": {"id": "r"}}, {}, None),
        ({"x_groq": None}, {}, None),
        ({"x_groq": "x"}, {}, None),
    ],
)
def test_the_homes_of_usage(around, choice, tokens):
    (chunk,) = read({**around, "choices": [{"delta": {"content": "x"}, **choice}]})
    assert (chunk.usage and chunk.usage.completion_tokens) == tokens


# Answers that are not streamed


def test_a_whole_answer_in_one_object():
    message = {"role": "assistant", "content": "Hi", "tool_calls": [{"id": "c"}]}
    payload = {"choices": [{"message": message, "finish_reason": "stop"}]}
    chunks = []
    OpenAIDialect(set()).read(payload, chunks, payload)
    (chunk,) = chunks
    assert (chunk.role, chunk.delta, chunk.finish_reason) == ("assistant", "Hi", "stop")
    assert chunk.tool_calls == (ToolCallDelta(id="c"),)


def test_a_message_behind_deltas_is_not_read_again():
    first = {"choices": [{"delta": {"content": "Hi"}, "message": {"content": "Hi"}}]}
    last = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    assert [chunk.delta for chunk in read(first, last)] == ["Hi", ""]


# Errors in the stream


@pytest.mark.parametrize(
    ("payload", "message", "code", "kind", "status"),
    [
        ({"error": {"message": "m", "code": 502, "type": "t"}}, "m", 502, "t", 502),
        ({"error": {"message": "m", "code": "429"}}, "m", "429", None, 429),
        ({"error": {"message": "m", "code": "overloaded"}}, "m", "overloaded", None, None),
        ({"error": {"message": "m", "code": None}}, "m", None, None, None),
        ({"error": {"message": "m", "code": 20}}, "m", 20, None, None),
        ({"error": {"message": "m", "code": 1.5, "type": 3}}, "m", None, None, None),
        ({"error": "boom"}, "boom", None, None, None),
        ({"error": "boom", "code": 500, "type": "t"}, "boom", 500, "t", 500),
        ({"error": {"detail": "m"}}, "m", None, None, None),
        ({"error": ["a"]}, "['a']", None, None, None),
        ({"error": True, "message": "m"}, "m", None, None, None),
        ({"detail": "no such model"}, "no such model", None, None, None),
        ({"detail": [{"msg": "m"}]}, "[{'msg': 'm'}]", None, None, None),
        ({"object": "error", "message": "m", "code": 400}, "m", 400, None, 400),
        ({"choices": [], "error": {"message": "m"}}, "m", None, None, None),
        ({"choices": [], "detail": "m"}, "m", None, None, None),
        (
            {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "no balance"}},
            *("no balance", 1008, None, None),
        ),
        ({"base_resp": {"status_code": 1008}}, "{'status_code': 1008}", 1008, None, None),
        ({"code": 10007, "message": "m", "sid": "s"}, "m", 10007, None, None),
        ({"code": "Busy"}, "{'code': 'Busy'}", "Busy", None, None),
        ({"message": "m", "type": "t"}, "m", None, "t", None),
    ],
)
def test_errors_in_every_shape(payload, message, code, kind, status):
    with pytest.raises(StreamAPIError) as caught:
        read(payload)
    error = caught.value
    assert (error.message, error.code, error.type, error.status_code) == (
        message,
        code,
        kind,
        status,
    )
    assert message in str(error)


@pytest.mark.parametrize("where", ["around", "choice"])
def test_what_stands_beside_an_error_is_not_lost(where):
    error = {"error": {"message": "m", "code": 502}}
    choice = {"delta": {"content": "text"}, "finish_reason": "error"}
    payload = {"choices": [choice], **error} if where == "around" else {"choices": [choice | error]}
    chunks = []
    with pytest.raises(StreamAPIError, match="m"):
        OpenAIDialect(set()).read(payload, chunks, payload)
    assert [(chunk.delta, chunk.finish_reason) for chunk in chunks] == [("text", "error")]


@pytest.mark.parametrize(
    "payload",
    [
        {"error": None, "choices": []},
        {"error": {}, "choices": []},
        {"detail": "fine", "choices": [{}]},
        {"detail": None},
        {"code": 0, "message": "Success"},
        {"code": "200", "message": "OK", "choices": []},
        {"error": None, "code": 5, "message": "m", "choices": [{}]},
        {"code": None, "message": ""},
        {"code": [1], "message": {"content": "x"}},
        {"base_resp": {"status_code": 0, "status_msg": ""}},
        {"base_resp": "fine"},
        {"choices": [{"error": None}]},
    ],
)
def test_no_errors(payload):
    assert all(chunk.delta == "" for chunk in read(payload))


# What an answer rests on


def cited(*sources, name="citations", text="x"):
    return {"choices": [{"delta": {"content": text}}], name: list(sources)}


def test_citations_that_are_repeated_with_every_chunk_are_given_once():
    one, two = "https://a", "https://b"
    chunks = read(cited(one), cited(one), cited(one, two), cited(one, two), cited(two))
    assert [chunk.extra for chunk in chunks] == [
        {"citations": [one]},
        None,
        {"citations": [two]},
        None,
        None,
    ]


def test_sources_stand_beside_what_else_is_unknown():
    (chunk,) = read({"choices": [{"delta": {"images": [1]}}], "search_results": [{"url": "u"}]})
    assert chunk.extra == {"images": [1], "search_results": [{"url": "u"}]}
    assert read(cited(name="citations"), cited("x", name="search_results") | {"citations": "x"})


def test_parts_of_a_content_without_text_are_kept():
    parts = [{"type": "text", "text": "a"}, {"type": "reference", "reference_ids": [1]}]
    chunk = chunk_of({"content": [*parts, parts[1]], "images": [1]})
    assert (chunk.delta, chunk.extra) == (
        "a",
        {"content_parts": [parts[1], parts[1]], "images": [1]},
    )


def test_what_stands_beside_no_choices_is_read():
    (chunk,) = read({"choices": [], "citations": ["https://a"]})
    assert (chunk.extra, chunk.usage) == ({"citations": ["https://a"]}, None)
    (chunk,) = read({"x_groq": {"usage": {"total_tokens": 4}}, "choices": []})
    assert chunk.usage.total_tokens == 4
    assert read({"x_groq": {"id": "r"}, "choices": []}) == []


def test_a_sign_of_life_with_a_message_is_no_error():
    assert read({"status": "processing", "message": "queued"}) == []
    with pytest.raises(StreamAPIError, match="invalid key"):
        read({"message": "invalid key", "type": "auth"})


# Being recognised


@pytest.mark.parametrize(
    ("payload", "recognised"),
    [
        ({"choices": [{"delta": {}}]}, True),
        ({"choices": [{"message": {}}]}, True),
        ({"object": "chat.completion.chunk", "choices": []}, True),
        ({"choices": [{"text": "x"}]}, False),
        ({"choices": []}, False),
        ({"choices": ["x"]}, False),
        ({"choices": "x", "object": 1}, False),
        ({"error": "x"}, False),
        ({}, False),
    ],
)
def test_what_can_only_be_of_this_form(payload, recognised):
    assert OpenAIDialect.recognises(payload) is recognised


# Types that can't be


def with_delta(**delta):
    return {"choices": [{"delta": delta}]}


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"choices": {"a": 1}}, "`choices` is a dict where a list"),
        ({"choices": ["x"]}, r"`choices\[0\]` is a str where an object"),
        ({"choices": [{"delta": "x"}]}, r"`choices\[0\].delta` is a str"),
        ({"choices": [{"delta": "x", "index": 7}]}, r"`choices\[0\].delta` is a str"),
        ({"choices": [{"finish_reason": 5}]}, "`finish_reason` is a int"),
        (with_delta(content=5), "`content` is a int"),
        (with_delta(content=[5]), r"`content\[0\]` is a int"),
        (with_delta(content=[{"thinking": 5}]), "`thinking` is a int"),
        (with_delta(refusal=5), "`refusal` is a int"),
        (with_delta(reasoning=5), "`reasoning` is a int"),
        (with_delta(reasoning_details="x"), "`reasoning_details` is a str"),
        (with_delta(tool_calls="x"), "`tool_calls` is a str"),
        (with_delta(tool_calls=["x"]), r"`tool_calls\[0\]` is a str"),
        (with_delta(tool_calls=[{"function": "x"}]), r"`tool_calls\[\].function` is a str"),
        (with_delta(tool_calls=[{"id": 5}]), r"`tool_calls\[\].id` is a int"),
        (with_delta(tool_calls=[{"function": {"name": 5}}]), "name` is a int"),
        (with_delta(tool_calls=[{"function": {"arguments": 5}}]), "arguments` is a int"),
        (with_delta(function_call="x"), "function` is a str"),
        ({"choices": [], "usage": "x"}, "`usage` is a str"),
    ],
)
def test_a_type_that_cannot_be_is_named(payload, words):
    with pytest.raises(StreamProtocolError, match=words) as caught:
        read(payload)
    assert 'on_malformed="skip"' in str(caught.value)


def test_arguments_given_as_an_object_are_text_afterwards():
    arguments = {"a": [1, {"b": None}]}
    assert json.loads(call_of({"function": {"arguments": arguments}}).arguments) == arguments


def test_an_answer_that_is_plain_text_can_be_gone_on_with():
    lost = OpenAIDialect.request_body(Chat([{"role": "user", "content": "Hello"}]))
    assert OpenAIDialect.can_be_continued(lost)
    sent, _ = OpenAIDialect.continued_body(lost, "Once", "https://h/", "auto", "Go on")
    assert len(sent["messages"]) == len(lost["messages"]) + 2
