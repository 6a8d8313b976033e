"""LangChain's messages, in the forms in which its integrations make them."""

import json
from types import SimpleNamespace

import pytest

from llm_kit import Limits, StreamProtocolError
from llm_kit._core.accumulator import Accumulator
from llm_kit.adapters.langchain import LangChainMessages, is_message
from llm_kit.types import ToolCallDelta
from llm_kit.wire import WireDecoder


def message(content="", **fields):
    known = {"additional_kwargs": {}, "response_metadata": {}, "tool_call_chunks": []}
    return {"type": "AIMessageChunk", "content": content, "id": None, **known, **fields}


def call(index=0, args="", **more):
    return {
        "type": "tool_call_chunk",
        "id": None,
        "name": None,
        "args": args,
        "index": index,
    } | more


def read(*messages):
    decoder, chunks = WireDecoder(LangChainMessages, Limits()), []
    for each in messages:
        decoder.read_object(each, each, chunks)
    return chunks


def fold(*messages):
    total = Accumulator()
    for chunk in read(*messages):
        total.feed(chunk, 0.0)
    return total.result()


def metadata(**fields):
    return message(response_metadata=fields)


def extra_of(*blocks, **fields):
    (chunk,) = read(message(list(blocks), **fields))
    return chunk.extra


def test_a_message_is_told_by_what_it_has():
    assert is_message(SimpleNamespace(type="AIMessageChunk", response_metadata={}))
    assert is_message(SimpleNamespace(type="ai", response_metadata={}))
    assert not is_message(SimpleNamespace(type="human", response_metadata={}))
    assert not is_message(SimpleNamespace(type="AIMessageChunk"))
    assert LangChainMessages.recognises(message())
    assert not LangChainMessages.recognises({"type": "AIMessageChunk"})


def test_text_and_where_it_comes_from():
    first = message("Hel", id="resp_1")
    head = {"model_name": "m", "created_at": 1700000000.0, "system_fingerprint": "fp"}
    chunks = read(first, metadata(**head), message("lo", response_metadata=head))
    assert [chunk.delta for chunk in chunks] == ["Hel", "lo"]
    assert (chunks[0].role, chunks[1].role) == ("assistant", None)
    assert (chunks[0].id, chunks[0].raw) == ("resp_1", first)
    assert (chunks[1].model, chunks[1].created) == ("m", 1700000000)
    assert chunks[1].system_fingerprint == "fp"


@pytest.mark.parametrize("created", [1700000000, 1700000000.0, "2023-11-14T22:13:20Z"])
@pytest.mark.parametrize("name", ["created", "created_at"])
def test_the_moment_in_any_form(created, name):
    (chunk,) = read(message("x", response_metadata={name: created}))
    assert chunk.created == 1700000000


@pytest.mark.parametrize("ident", ["lc_run--1", "run-1", "lc_1", "", None, 5])
def test_the_id_of_a_run_is_none_of_the_answers(ident):
    assert read(message("x", id=ident))[0].id is None


def test_what_says_nothing_is_no_chunk():
    assert len(read(message("x"), message(), message(chunk_position="last"))) == 1


def test_a_content_may_be_a_list():
    blocks = ["a", {"type": "text", "text": "b", "index": 0}, {"type": "text", "text": None}]
    assert fold(message(blocks), message([{"type": "refusal", "refusal": "no"}])).content == "ab"
    assert fold(message([{"type": "refusal", "refusal": "no"}])).refusal == "no"


def test_sources_are_annotations():
    cited = {"type": "text", "text": "", "citations": [{"type": "web", "url": "u"}], "index": 0}
    noted = {"type": "text", "text": "x", "annotations": [{"type": "url_citation", "url": "v"}]}
    assert extra_of(cited, noted) == {
        "annotations": [
            {"type": "web", "url": "u"},
            {"type": "url_citation", "url_citation": {"url": "v"}},
        ]
    }


def test_usage_is_added_up():
    parts = [
        {"input_tokens": 9, "output_tokens": 0, "total_tokens": 9},
        {
            "input_tokens": 0,
            "output_tokens": 7,
            "total_tokens": 7,
            "input_token_details": {"cache_read": 4},
            "output_token_details": {"reasoning": 2, "audio": None},
        },
        {"input_tokens": 1, "output_tokens": 1, "output_token_details": {"reasoning": 1}},
    ]
    usage = fold(*(message("x", usage_metadata=part) for part in parts)).usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (10, 8, 16)
    assert (usage.reasoning_tokens, usage.cached_tokens) == (3, 4)
    assert usage.raw["output_token_details"] == {"reasoning": 3}


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "STOP"}, "stop"),
        ({"finish_reason": "length"}, "length"),
        ({"finish_reason": "something_new"}, "something_new"),
        ({"stop_reason": "end_turn", "stop_sequence": None}, "stop"),
        ({"stopReason": "max_tokens"}, "length"),
        ({"stopReason": "content_filtered"}, "content_filter"),
        ({"done_reason": "stop"}, "stop"),
        ({"status": "completed"}, "stop"),
        ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, None),
        ({"status": "incomplete"}, "incomplete"),
        ({"status": "in_progress"}, None),
        ({"finish_reason": ""}, None),
        ({}, None),
    ],
)
def test_the_ending_is_the_providers(ending, expected):
    if "incomplete_details" in ending:
        expected = "content_filter"
    assert fold(message("x"), metadata(**ending)).finish_reason == expected


@pytest.mark.parametrize(
    ("ending", "expected"),
    [
        ({"finish_reason": "STOP"}, "tool_calls"),
        ({"done_reason": "stop"}, "tool_calls"),
        ({"status": "completed"}, "tool_calls"),
        ({"finish_reason": "stop"}, "stop"),
        ({"finish_reason": "MAX_TOKENS"}, "length"),
    ],
)
def test_some_have_no_word_of_their_own_for_calls(ending, expected):
    called = message(tool_call_chunks=[call(name="f", args="{}")])
    assert fold(called, metadata(**ending)).finish_reason == expected


def test_fragments_of_parallel_calls():
    result = fold(
        message(tool_call_chunks=[call(0, "", id="a", name="f"), call(1, "{", id="b", name="g")]),
        message(tool_call_chunks=[call(1, "}")]),
        message(tool_call_chunks=[call(0, None)]),
        metadata(finish_reason="tool_calls"),
    )
    assert [(each["id"], each["function"]) for each in result.tool_calls] == [
        ("a", {"name": "f", "arguments": ""}),
        ("b", {"name": "g", "arguments": "{}"}),
    ]


def test_indexes_that_are_names_become_numbers():
    names = ["lc_tc_5", "lc_tc_2", "lc_tc_5"]
    chunks = read(*(message(tool_call_chunks=[call(name, "1")]) for name in names))
    assert [chunk.tool_calls[0].index for chunk in chunks] == [0, 1, 0]


def test_a_whole_message_has_whole_calls():
    whole = {
        "type": "ai",
        "content": "x",
        "additional_kwargs": {},
        "response_metadata": {"finish_reason": "tool_calls"},
        "tool_calls": [{"name": "f", "args": {"city": "Ås"}, "id": "a", "type": "tool_call"}],
        "invalid_tool_calls": [{"name": "g", "args": "{", "id": "b", "error": None}],
    }
    (chunk,) = read(whole)
    assert chunk.role == "assistant"
    assert chunk.tool_calls == (
        ToolCallDelta(None, "a", "f", '{"city": "Ås"}'),
        ToolCallDelta(None, "b", "g", "{"),
    )


def test_the_deprecated_form_of_a_call():
    legacy = {"function_call": {"name": "f", "arguments": None}}
    (chunk,) = read(message(additional_kwargs=legacy))
    assert chunk.tool_calls == (ToolCallDelta(None, None, "f", ""),)
    (chunk,) = read(message(additional_kwargs=legacy, tool_call_chunks=[call(id="a", name="f")]))
    assert chunk.tool_calls == (ToolCallDelta(0, "a", "f", ""),)


def test_claudes_calls_without_arguments_have_an_empty_object():
    begun = {"type": "tool_use", "name": "f", "input": {}, "toolset_name": None, "caller": {"a": 1}}
    result = fold(
        message([begun | {"id": "a", "index": 1}], tool_call_chunks=[call(1, id="a", name="f")]),
        message([{"type": "input_json_delta", "index": 1}], tool_call_chunks=[call(1, "")]),
        message([begun | {"id": "b", "index": 2}], tool_call_chunks=[call(2, id="b", name="f")]),
        message([{"type": "input_json_delta", "index": 2}], tool_call_chunks=[call(2, "[1]")]),
        metadata(stop_reason="tool_use"),
    )
    assert [each["function"]["arguments"] for each in result.tool_calls] == ["{}", "[1]"]
    assert [each["caller"] for each in result.tool_calls] == [{"a": 1}, {"a": 1}]


def test_custom_tools_take_plain_text():
    block = {"type": "custom_tool_call", "call_id": "a", "name": "f", "input": "go"}
    for given in ({}, {"tool_call_chunks": [call(0, "go", id="a", name="f")]}):
        (chunk,) = read(message([block], **given))
        (piece,) = chunk.tool_calls
        assert (piece.id, piece.name, piece.arguments, piece.extra) == (
            "a",
            "f",
            "go",
            {"type": "custom"},
        )


def test_claudes_thoughts_can_be_sent_back():
    result = fold(
        message([{"type": "thinking", "thinking": "Hm", "index": 0}]),
        message([{"type": "thinking", "thinking": "m.", "index": 0}]),
        message([{"type": "thinking", "thinking": "", "signature": "s", "index": 0}]),
        message([{"type": "thinking", "thinking": "", "index": 0}]),
        message([{"type": "redacted_thinking", "data": "d", "index": 1}]),
    )
    assert result.reasoning == "Hmm."
    assert result.extra["reasoning_details"] == [
        {
            "type": "reasoning.text",
            "text": "Hmm.",
            "signature": "s",
            "format": "anthropic-claude-v1",
            "index": 0,
        },
        {"type": "reasoning.encrypted", "data": "d", "format": "anthropic-claude-v1", "index": 1},
    ]


def test_geminis_signatures_stay_with_what_they_sign():
    signatures = {"__gemini_function_call_thought_signatures__": {"a": "+/+/"}}
    calls = [call(0, "{}", id="a", name="f"), call(1, "{}", id="b", name="f")]
    thought = {"type": "thinking", "thinking": "Hm", "signature": "s"}
    result = fold(
        message(
            [thought],
            additional_kwargs=signatures,
            tool_call_chunks=calls,
            response_metadata={"model_provider": "google_genai", "finish_reason": "STOP"},
        )
    )
    signed, unsigned = result.tool_calls
    assert signed["extra_content"] == {"google": {"thought_signature": "+/+/"}}
    assert "extra_content" not in unsigned
    (detail,) = result.extra.pop("reasoning_details")
    assert (detail["format"], detail["signature"]) == ("google-gemini-v1", "s")
    assert result.extra == {}


def plain(text, place=0, **more):
    return {"type": "reasoning", "reasoning": text, "index": place, **more}


@pytest.mark.parametrize(
    ("provider", "form"),
    [
        ("anthropic", "anthropic-claude-v1"),
        ("bedrock_converse", "anthropic-claude-v1"),
        ("google_genai", "google-gemini-v1"),
    ],
)
def test_signed_thoughts_in_langchains_own_form(provider, form):
    by = {"response_metadata": {"model_provider": provider}}
    redacted = {"type": "redacted_thinking", "data": "d"}
    result = fold(
        message([plain("Hm")], **by),
        message([plain("m.")], **by),
        message([plain("", extras={"signature": "s"})], **by),
        message([{"type": "non_standard", "value": redacted, "index": 1}], **by),
    )
    assert result.reasoning == "Hmm."
    assert result.extra == {
        "reasoning_details": [
            {
                "type": "reasoning.text",
                "text": "Hmm.",
                "signature": "s",
                "format": form,
                "index": 0,
            },
            {
                "type": "reasoning.encrypted",
                "data": "d",
                "format": "anthropic-claude-v1",
                "index": 1,
            },
        ]
    }


def test_a_signature_tells_whose_thought_it_is_where_nothing_else_does():
    result = fold(message([plain("Hm", extras={"signature": "s"}), plain("m", 1, extras=5)]))
    (detail,) = result.extra["reasoning_details"]
    assert (detail["format"], detail["signature"]) == ("anthropic-claude-v1", "s")
    assert result.reasoning == "Hmm"


def test_reasoning_items_in_langchains_own_form():
    by = {"response_metadata": {"model_provider": "openai"}}
    sealed = {"type": "reasoning", "id": "rs_1", "extras": {"encrypted_content": "e"}}
    result = fold(
        message([plain("", "lc_rs_0", id="rs_1")], **by),
        message([plain("Hm", "lc_rs_0")], **by),
        message([sealed | {"index": "lc_rs_0"}], **by),
    )
    same = {"id": "rs_1", "format": "openai-responses-v1"}
    assert result.extra["reasoning_details"] == [
        {"type": "reasoning.summary", "summary": "Hm", **same, "index": 0},
        {"type": "reasoning.encrypted", "data": "e", **same, "index": 1},
    ]


def test_an_unknown_block_in_langchains_own_form_is_kept():
    strange = {"type": "non_standard", "value": 5}
    assert extra_of(strange) == {"non_standard": [strange]}


def test_mistrals_thoughts_are_a_list():
    (chunk,) = read(message([{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]))
    assert (chunk.reasoning, chunk.extra) == ("Hm", None)


def test_reasoning_items_of_the_responses_api():
    result = fold(
        message([{"type": "reasoning", "id": "rs_1", "summary": [], "index": 0}]),
        message([{"type": "reasoning", "summary": [{"index": 0, "text": "H"}], "index": 0}]),
        message([{"type": "reasoning", "summary": [{"index": 0, "text": "m"}], "index": 0}]),
        message([{"type": "reasoning", "summary": [{"index": 1, "text": "."}], "index": 0}]),
        message([{"type": "reasoning", "content": [{"text": "!"}], "index": 0}]),
        message([{"type": "reasoning", "encrypted_content": "e", "index": 0}]),
    )
    assert result.reasoning == "Hm.!"
    same = {"id": "rs_1", "format": "openai-responses-v1"}
    assert result.extra["reasoning_details"] == [
        {"type": "reasoning.summary", "summary": "Hm", **same, "index": 0},
        {"type": "reasoning.summary", "summary": ".", **same, "index": 1},
        {"type": "reasoning.text", "text": "!", **same, "index": 2},
        {"type": "reasoning.encrypted", "data": "e", **same, "index": 3},
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"content": [{"type": "reasoning", "reasoning": "Hm"}]},
        {"content": [{"type": "reasoning_content", "reasoning_content": {"text": "Hm"}}]},
        {"additional_kwargs": {"reasoning_content": "Hm"}},
        {"additional_kwargs": {"reasoning": {"summary": [{"text": "Hm"}]}}},
        {
            "content": [{"type": "thinking", "thinking": "Hm"}],
            "additional_kwargs": {"reasoning_content": "Hm"},
        },
    ],
    ids=["v1", "bedrock", "deepseek", "v0", "told twice"],
)
def test_reasoning_in_other_homes(fields):
    assert fold(message(**fields)).reasoning == "Hm"


def test_bedrocks_signature_is_kept():
    thought = {"text": "", "signature": "s"}
    extra = extra_of({"type": "reasoning_content", "reasoning_content": thought})
    assert extra["reasoning_details"] == [{"type": "reasoning.text", **thought, "index": 0}]
    broken = {"type": "reasoning_content", "reasoning_content": "s"}
    assert extra_of(broken)["reasoning_details"] == [{"type": "reasoning.text", "index": 0}]


def test_a_servers_tools_are_no_calls():
    begun = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}, "index": 0}
    result = fold(
        message([begun]),
        message([{"type": "input_json_delta", "partial_json": '{"q"', "index": 0}]),
        message([{"type": "input_json_delta", "partial_json": ": 1}", "index": 0}]),
        message([{"type": "web_search_tool_result", "tool_use_id": "s1", "index": 1}]),
        message([{"type": "mcp_tool_use", "id": "s2", "input": {"a": 1}, "index": 2}]),
        message([{"type": "server_tool_call", "id": "s3", "args": "{}", "index": "lc_1"}]),
    )
    assert result.tool_calls == result.incomplete_tool_calls == []
    calls = result.extra["server_tool_calls"]
    assert [(each["id"], json.loads(each["arguments"])) for each in calls] == [
        ("s1", {"q": 1}),
        ("s2", {"a": 1}),
        ("s3", {}),
    ]
    assert result.extra["server_tool_results"] == [
        {"type": "web_search_tool_result", "tool_use_id": "s1"}
    ]


def test_hosted_items_are_a_call_and_its_result():
    item = {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": None}
    assert extra_of(item | {"index": 1}) == {
        "server_tool_calls": [{"index": 0, "id": "ws_1", "name": "web_search_call"}],
        "server_tool_results": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}],
    }


def test_a_block_of_another_kind_is_kept_under_its_name():
    picture = {"type": "image_url", "image_url": {"url": "data:"}, "index": 0}
    assert extra_of(picture) == {
        "image_url": [{"type": "image_url", "image_url": {"url": "data:"}}]
    }


def test_what_else_an_integration_gives_is_kept():
    kwargs = {"audio": {"id": "a"}, "parsed": None, "refusal": "no", "tool_calls": [{}]}
    (chunk,) = read(message(additional_kwargs=kwargs))
    assert (chunk.refusal, chunk.extra) == ("no", {"audio": {"id": "a"}})


def test_what_stands_on_every_message_is_said_once():
    every = {
        "model_provider": "groq",
        "output_version": "v1",
        "x": "y",
        "logprobs": {"content": [{"token": "a"}]},
    }
    chunks = read(*(message("a", response_metadata=every) for _ in range(2)))
    assert [chunk.extra for chunk in chunks] == [{"x": "y"}, None]
    assert chunks[0].logprobs == {"content": [{"token": "a"}]}


@pytest.mark.parametrize(
    "broken",
    [
        message([5]),
        message([{"type": "text", "text": 5}]),
        message(tool_call_chunks=[call(args=5)]),
        message(tool_call_chunks=[call(name=5)]),
        message([{"type": "thinking", "thinking": 5}]),
        metadata(finish_reason=5),
        message(additional_kwargs={"refusal": 5}),
    ],
)
def test_a_field_of_another_type_is_told(broken):
    with pytest.raises(StreamProtocolError, match="is expected"):
        read(broken)
