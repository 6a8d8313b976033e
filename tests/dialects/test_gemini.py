"""Gemini: what is asked of ``streamGenerateContent``, and what its objects say."""

import base64
import enum
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_kit import StreamAPIError, StreamProtocolError
from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects.base import Chat
from llm_kit.dialects.gemini import GeminiDialect

FORMAT = "google-gemini-v1"
USER = {"role": "user", "content": "Hello"}
HELLO = {"role": "user", "parts": [{"text": "Hello"}]}
WEATHER = {"name": "weather", "args": {"city": "Oslo"}}


def read(*payloads, quirks=None):
    """The chunks of these objects, in one stream."""
    dialect, chunks = GeminiDialect(set() if quirks is None else quirks), []
    for payload in payloads:
        dialect.read(payload, chunks, payload)
    assert dialect.done is False
    return chunks


def event(*parts, **candidate):
    """An object with one candidate that has these parts."""
    content = {"content": {"role": "model", "parts": list(parts)}} if parts else {}
    return {"candidates": [{**content, **candidate}]}


def result_of(*payloads, index=0):
    """What these objects add up to."""
    total = Accumulator()
    for chunk in read(*payloads):
        total.feed(chunk, 0.0)
    return total.result(index)


def called(*calls, **candidate):
    return event(*({"functionCall": call} for call in calls), **candidate)


def functions_of(*payloads):
    """Name and arguments of the calls in these objects."""
    result = result_of(*payloads)
    calls = result.tool_calls + result.incomplete_tool_calls
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


def body_of(*messages, **asked):
    """The body for these messages; parameters of the API's own as ``params``."""
    return GeminiDialect.request_body(Chat(messages=list(messages) or [USER], **asked))


def parts_of(*content, role="user"):
    """The parts that one message with this content becomes."""
    (turn,) = body_of({"role": role, "content": list(content)})["contents"]
    return turn["parts"]


# The request: where it goes


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gemini-3-flash", "models/gemini-3-flash"),
        ("models/gemini-3-flash", "models/gemini-3-flash"),
        ("tunedModels/mine-1", "tunedModels/mine-1"),
        ("publishers/google/models/gemini-3", "publishers/google/models/gemini-3"),
        ("odd name?", "models/odd%20name%3F"),
    ],
)
def test_the_model_stands_in_the_path_once(model, name):
    assert GeminiDialect.path(model) == f"/{name}:streamGenerateContent?alt=sse"
    assert GeminiDialect.root == "/v1beta"


@pytest.mark.parametrize("model", [None, ""])
def test_without_a_model_there_is_no_path(model):
    with pytest.raises(ValueError, match="needs a model"):
        GeminiDialect.path(model)


@pytest.mark.parametrize(
    ("key", "headers"),
    [
        ("AIza1", {"x-goog-api-key": "AIza1"}),
        ("ya29.a0", {"authorization": "Bearer ya29.a0"}),
        ("", {}),
        (None, {}),
    ],
)
def test_a_key_and_an_access_token_have_headers_of_their_own(key, headers):
    assert GeminiDialect.request_headers(key) == headers


def test_no_field_can_be_left_out_on_refusal():
    assert GeminiDialect.refused_option({"contents": []}, 400, "Unknown name") is None


# The request: messages


def test_the_body_has_neither_model_nor_stream():
    assert body_of(USER, model="gemini-3-flash") == {"contents": [HELLO]}


def test_system_messages_stand_above_the_turns():
    body = body_of(
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "system", "content": ""},
    )
    assert body == {
        "contents": [HELLO],
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
    }


def test_messages_of_one_role_in_a_row_are_one_turn():
    body = body_of(
        USER,
        {"role": "user", "content": ["again", ""]},
        {"role": "assistant", "content": "Yes?"},
        {"role": "model", "content": None, "refusal": "No."},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": ""},
    )
    assert body["contents"] == [
        {"role": "user", "parts": [{"text": "Hello"}, {"text": "again"}]},
        {"role": "model", "parts": [{"text": "Yes?"}, {"text": "No."}]},
    ]


PNG = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
JPG = {"type": "image_url", "image_url": {"url": "https://example.org/cat.jpg"}}
BARE = {"type": "image_url", "image_url": {"url": "https://example.org/cat"}}
WAV = {"type": "input_audio", "input_audio": {"data": "UklG", "format": "wav"}}
PDF = {"type": "file", "file": {"file_data": "data:application/pdf;base64,JVBE"}}
NAMED = {"type": "file", "file": {"file_data": "data:,JVBE", "filename": "a.pdf"}}


@pytest.mark.parametrize(
    ("part", "here"),
    [
        (PNG, {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}),
        (JPG, {"fileData": {"fileUri": "https://example.org/cat.jpg", "mimeType": "image/jpeg"}}),
        (BARE, {"fileData": {"fileUri": "https://example.org/cat"}}),
        (WAV, {"inlineData": {"mimeType": "audio/wav", "data": "UklG"}}),
        (PDF, {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}}),
        (NAMED, {"inlineData": {"mimeType": "application/pdf", "data": "JVBE"}}),
        ({"fileData": {"fileUri": "gs://a/b"}}, {"fileData": {"fileUri": "gs://a/b"}}),
    ],
)
def test_media_are_sent_inline_or_by_their_address(part, here):
    assert parts_of(part) == [here]


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ({"role": "function", "content": "x"}, r"messages\[1\]\.role: .* the role 'function'"),
        ({"role": "user", "content": [{"type": "video"}]}, r"messages\[1\]\.content\[0\]: .*video"),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]},
            r"messages\[1\]\.content\[0\]: .* file given by its name",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:,JV"}}]},
            r"messages\[1\]\.content\[0\]: the MIME type is missing",
        ),
        ({"role": "system", "content": [PNG]}, r"messages\[1\]\.content: .*image"),
        ({"role": "tool", "tool_call_id": "x", "content": "1"}, r"messages\[1\]: no tool call"),
        ({"role": "tool", "content": "1"}, r"messages\[1\]: no tool call before has the id None"),
    ],
)
def test_what_has_no_place_is_told_with_where_it_stands(message, error):
    with pytest.raises(ValueError, match=error):
        body_of(USER, message)


def call(name, arguments="{}", ident=None, **more):
    function = {"name": name, "arguments": arguments}
    return {"id": ident, "type": "function", "function": function, **more}


def test_results_go_back_by_their_functions_name():
    body = body_of(
        USER,
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("a", '{"x": 1}', "c1"), call("b"), call("c"), call("c")],
        },
        {"role": "tool", "tool_call_id": "c1", "content": '{"ok": true}'},
        {"role": "tool", "name": "c", "content": "[1]"},
        {"role": "tool", "tool_call_id": None, "content": "sunny"},
        {"role": "tool", "content": [{"type": "text", "text": "1"}]},
        {"role": "tool", "tool_call_id": "other", "name": "d", "content": ""},
    )
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"functionCall": {"name": "a", "args": {"x": 1}, "id": "c1"}},
                {"functionCall": {"name": "b", "args": {}}},
                {"functionCall": {"name": "c", "args": {}}},
                {"functionCall": {"name": "c", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "a", "response": {"ok": True}, "id": "c1"}},
                {"functionResponse": {"name": "c", "response": {"result": "[1]"}}},
                {"functionResponse": {"name": "b", "response": {"result": "sunny"}}},
                {"functionResponse": {"name": "c", "response": {"result": "1"}}},
                {"functionResponse": {"name": "d", "response": {"result": ""}, "id": "other"}},
            ],
        },
    ]


def test_reasoning_of_other_providers_stays_away():
    details = [
        {"type": "reasoning.text", "text": "Hm", "format": "anthropic-claude-v1"},
        {"type": "reasoning.encrypted", "data": None, "format": FORMAT},
        "words",
    ]
    message = {"role": "assistant", "content": "Yes", "reasoning_details": details}
    assert body_of(message)["contents"] == [{"role": "model", "parts": [{"text": "Yes"}]}]


def test_an_answer_goes_back_with_its_signatures_in_their_places():
    result = result_of(
        event({"text": "Let me ", "thought": True}),
        event({"text": "see.", "thought": True}),
        event({"text": "", "thought": True, "thoughtSignature": "s0"}),
        event(
            {"text": "Asking"}, {"text": "", "thoughtSignature": "s1"}, {"thoughtSignature": "s2"}
        ),
        event({"functionCall": WEATHER, "thoughtSignature": "s3"}),
        called({"name": "clock", "id": "c2"}, finishReason="STOP"),
    )
    message = result.to_message()
    first, second = message["tool_calls"]
    assert body_of(
        USER,
        message,
        {"role": "tool", "tool_call_id": first["id"], "content": '{"sky": "blue"}'},
        {"role": "tool", "tool_call_id": second["id"], "content": "noon"},
    )["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "Let me see.", "thought": True, "thoughtSignature": "s0"},
                {"text": "Asking", "thoughtSignature": "s1"},
                {"text": "", "thoughtSignature": "s2"},
                {"functionCall": WEATHER, "thoughtSignature": "s3"},
                {"functionCall": {"name": "clock", "args": {}, "id": "c2"}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "weather", "response": {"sky": "blue"}}},
                {"functionResponse": {"name": "clock", "response": {"result": "noon"}, "id": "c2"}},
            ],
        },
    ]


def test_a_thought_without_a_signature_goes_back_too():
    message = result_of(event({"text": "Hm", "thought": True}, finishReason="STOP")).to_message()
    (turn,) = body_of(message)["contents"]
    assert turn == {"role": "model", "parts": [{"text": "Hm", "thought": True}]}


def test_the_callers_objects_stay_as_they_are():
    messages = [USER, {"role": "user", "content": [{"inlineData": {"data": "x"}}]}]
    tools = [{"type": "function", "function": {"name": "f"}}, {"googleSearch": {}}]
    params = {"tool_choice": "auto", "seed": 1, "generationConfig": {"topK": 1}}
    before = json.dumps([messages, tools, params])
    body = body_of(*messages, tools=tools, params=params, stop="x")
    continued, _ = GeminiDialect.continued_body(body, "a", "", "auto", "Go on.")
    assert json.dumps([messages, tools, params]) == before
    assert body["contents"] != continued["contents"]


# The request: tools and parameters


def test_functions_are_one_tool_and_others_stay_as_they_are():
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    tools = [
        {"googleSearch": {}},
        {
            "type": "function",
            "function": {"name": "f", "description": "F", "parameters": schema, "strict": True},
        },
        {"type": "function", "function": {"name": "g"}},
    ]
    assert body_of(tools=tools)["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "F", "parametersJsonSchema": schema},
                {"name": "g"},
            ]
        },
        {"googleSearch": {}},
    ]
    assert body_of(tools=tools[:1])["tools"] == [{"googleSearch": {}}]


def test_a_tool_of_another_api_is_an_error():
    with pytest.raises(ValueError, match=r"tools\[0\]: .* part of type 'web_search'"):
        body_of(tools=[{"type": "web_search"}])


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "f"}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_tool_choice_is_a_mode(choice, config):
    body = body_of(params={"tool_choice": choice, "toolConfig": {"retrievalConfig": {}}})
    assert body["toolConfig"] == {"functionCallingConfig": config, "retrievalConfig": {}}
    assert "tool_choice" not in body


@pytest.mark.parametrize("choice", ["maybe", 1, {"type": "function"}, {"function": {"name": 1}}])
def test_a_tool_choice_that_means_nothing_is_an_error(choice):
    with pytest.raises(ValueError, match="tool_choice must be"):
        body_of(params={"tool_choice": choice})


def test_everyday_parameters_stand_in_the_generation_config():
    params = {
        "max_tokens": 5,
        "temperature": 0,
        "top_p": 0.5,
        "seed": 1,
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
        "max_completion_tokens": None,
        "tool_choice": None,
        "safetySettings": [],
    }
    assert body_of(params=params, stop="END", n=2) == {
        "contents": [HELLO],
        "safetySettings": [],
        "generationConfig": {
            "maxOutputTokens": 5,
            "temperature": 0,
            "topP": 0.5,
            "seed": 1,
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
            "stopSequences": ["END"],
            "candidateCount": 2,
        },
    }


@pytest.mark.parametrize("name", ["generationConfig", "generation_config"])
def test_the_users_own_config_wins_in_either_spelling(name):
    own = {"max_output_tokens": 9, "thinkingConfig": {"thinkingBudget": 0}}
    body = body_of(stop=["a", "b"], params={"max_tokens": 5, name: own})
    assert body == {"contents": [HELLO], name: {"stopSequences": ["a", "b"], **own}}


def test_the_users_own_fields_win():
    system = {"role": "system", "content": "Be brief."}
    own = {"contents": [{"parts": []}], "system_instruction": "mine"}
    assert body_of(system, USER, params=own) == own


@pytest.mark.parametrize(
    ("form", "config"),
    [
        ({"type": "json_object"}, {"responseMimeType": "application/json"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            {
                "responseMimeType": "application/json",
                "responseJsonSchema": {"type": "object"},
            },
        ),
        ({"type": "text"}, None),
    ],
)
def test_a_response_format_is_a_mime_type(form, config):
    body = body_of(params={"response_format": form})
    assert body.get("generationConfig") == config
    assert "response_format" not in body


@pytest.mark.parametrize("form", ["json", {"type": "json_schema"}, {"type": "xml"}])
def test_a_response_format_that_means_nothing_is_an_error(form):
    with pytest.raises(ValueError, match="response_format must be"):
        body_of(params={"response_format": form})


@pytest.mark.parametrize("name", ["reasoning_effort", "logprobs", "top_logprobs"])
def test_a_parameter_with_another_form_here_is_told_what_to_write(name):
    with pytest.raises(ValueError, match=rf"{name} has another form .* write generationConfig="):
        body_of(params={name: 1})


# The request that goes on


@pytest.mark.parametrize(
    ("body", "can"),
    [
        ({}, True),
        ({"generationConfig": {"responseMimeType": "text/plain"}}, True),
        ({"generationConfig": {"responseMimeType": "application/json"}}, False),
        ({"generation_config": {"response_mime_type": "application/json"}}, False),
        ({"generationConfig": {"responseFormat": [{}]}}, False),
        ({"toolConfig": {"functionCallingConfig": {"mode": "AUTO"}}}, True),
        ({"tool_config": {"function_calling_config": {"mode": "ANY"}}}, False),
    ],
)
def test_json_and_forced_calls_can_not_be_continued(body, can):
    assert GeminiDialect.can_be_continued(body) is can


@pytest.mark.parametrize("mode", ["auto", "instruct"])
def test_the_model_is_told_to_go_on(mode):
    body = {"contents": [HELLO], "generationConfig": {}}
    assert GeminiDialect.continued_body(body, "It is ", "https://x", mode, "Go on.") == (
        {
            "contents": [
                HELLO,
                {"role": "model", "parts": [{"text": "It is "}]},
                {"role": "user", "parts": [{"text": "Go on."}]},
            ],
            "generationConfig": {},
        },
        "",
    )


def test_a_prefill_is_refused():
    with pytest.raises(ValueError, match='by \'plain\': use "auto" or "instruct"'):
        GeminiDialect.continued_body({"contents": []}, "a", "", "plain", "Go on.")


# What is recognised


@pytest.mark.parametrize(
    "payload",
    [
        event({"text": "Hi"}),
        {"candidates": [{"finishReason": "STOP", "index": 0}]},
        {"promptFeedback": {"blockReason": "SAFETY"}},
        {"candidates": [], "usageMetadata": {"promptTokenCount": 1}},
    ],
)
def test_its_own_objects_are_recognised(payload):
    assert GeminiDialect.recognises(payload) is True


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"choices": [{"index": 0, "delta": {"content": "Hi"}}], "usage": None},
        {"type": "message_start", "message": {"content": []}},
        {"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}},
        {"candidates": [{"name": "Bob", "content": "a"}]},
        {"candidates": "many"},
        {"candidates": ["Bob"]},
    ],
)
def test_other_objects_are_not_recognised(payload):
    assert GeminiDialect.recognises(payload) is False


# The stream: text, thoughts, endings


def test_a_chunk_has_all_that_its_object_says():
    payload = {
        **event({"text": "Hi"}, {"text": " there"}, finishReason="MAX_TOKENS", index=0),
        "modelVersion": "gemini-3-flash",
        "responseId": "r1",
        "createTime": "2026-05-04T20:01:02.264968Z",
        "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3},
    }
    (chunk,) = read(payload)
    assert (chunk.delta, chunk.role, chunk.finish_reason) == ("Hi there", "model", "length")
    assert (chunk.id, chunk.model) == ("r1", "gemini-3-flash")
    assert chunk.created == datetime(2026, 5, 4, 20, 1, 2, tzinfo=UTC).timestamp()
    assert chunk.usage.prompt_tokens == 3
    assert chunk.raw is payload


@pytest.mark.parametrize(
    ("moment", "created"),
    [(datetime(1970, 1, 1, 0, 1, tzinfo=UTC), 60), ("soon", None), (7, None)],
)
def test_the_moment_may_be_a_datetime_or_nonsense(moment, created):
    (chunk,) = read({**event({"text": "Hi"}), "createTime": moment})
    assert chunk.created == created


def test_objects_that_say_nothing_give_no_chunk():
    first, second = read(
        {},
        {"candidates": None},
        event({"text": ""}, index=0),
        event({"text": ""}),
        {"candidates": [{}]},
        {"candidates": [{"content": {}}]},
        event({"text": "Hi"}),
        event({"text": "", "thought": True}, {"thought": True}),
        event(groundingMetadata={}, finishMessage="", citationMetadata=None),
    )
    assert (first.role, first.delta) == ("model", "")
    assert (second.role, second.delta) == (None, "Hi")


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", "stop"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "MALFORMED_FUNCTION_CALL"),
        ("OTHER", "OTHER"),
        (enum.Enum("FinishReason", {"STOP": "STOP"}).STOP, "stop"),
    ],
)
def test_endings_are_told_in_the_fields_words(word, reason):
    (chunk,) = read(event(finishReason=word))
    assert chunk.finish_reason == reason


def test_an_unspecified_ending_is_none():
    (chunk,) = read(event({"text": "Hi"}, finishReason="FINISH_REASON_UNSPECIFIED"))
    assert chunk.finish_reason is None


def test_the_last_ending_counts():
    quirks = set()
    *_, last = read(
        event({"text": "a"}, finishReason="STOP"),
        event({"text": "b"}, finishReason="STOP"),
        event(finishReason="RECITATION"),
        quirks=quirks,
    )
    assert last.finish_reason == "content_filter"
    assert quirks == {"finish_reason_changed"}


def test_candidates_are_choices():
    payload = {
        "candidates": [
            {"content": {"parts": [{"text": "B"}]}, "index": 1},
            {"content": {"parts": [{"text": "A"}]}, "index": 0, "finishReason": "STOP"},
            {"content": {"parts": [{"text": "C"}]}},
        ],
        "usageMetadata": {"totalTokenCount": 9},
    }
    chunks = read(payload)
    assert [(chunk.index, chunk.delta) for chunk in chunks] == [(1, "B"), (0, "A"), (2, "C")]
    assert [chunk.usage is not None for chunk in chunks] == [True, False, False]


def test_thoughts_are_reasoning():
    result = result_of(
        event({"text": "One", "thought": True}, {"text": " two", "thought": True}),
        event({"text": "Yes"}),
        event({"text": "Three", "thought": True, "thoughtSignature": "s"}),
        event({"text": "Four", "thought": True}),
    )
    assert (result.reasoning, result.content) == ("One twoThreeFour", "Yes")
    text = {"type": "reasoning.text", "format": FORMAT}
    assert result.extra["reasoning_details"] == [
        {**text, "text": "One two", "index": 0},
        {**text, "text": "Three", "signature": "s", "index": 1},
        {**text, "text": "Four", "index": 2},
    ]


@pytest.mark.parametrize("part", [{"text": "Hi"}, {"text": ""}, {}])
def test_a_signature_is_kept(part):
    result = result_of(event({**part, "thoughtSignature": "s1"}), event({"thoughtSignature": "s2"}))
    assert result.content == part.get("text", "")
    detail = {"type": "reasoning.encrypted", "format": FORMAT}
    assert result.extra["reasoning_details"] == [
        {**detail, "data": "s1", "index": 0},
        {**detail, "data": "s2", "index": 1},
    ]


def test_a_signature_in_bytes_is_told_as_on_the_wire():
    secret = b"\xfb\xff\xfe"
    (chunk,) = read(event({"functionCall": WEATHER, "thoughtSignature": secret}))
    (delta,) = chunk.tool_calls
    signature = base64.b64encode(secret).decode()
    assert delta.extra == {"extra_content": {"google": {"thought_signature": signature}}}


def test_log_probabilities_are_added_up():
    one, two = {"chosenCandidates": [{"token": "a"}]}, {"chosenCandidates": [{"token": "b"}]}
    result = result_of(event(logprobsResult=one), event(logprobsResult=two))
    assert result.logprobs == {"chosenCandidates": [{"token": "a"}, {"token": "b"}]}


# The stream: function calls


def test_calls_in_one_object_and_in_several_are_told_apart():
    result = result_of(
        called({**WEATHER, "id": "c1"}, {"name": "clock"}),
        called({"name": "clock", "args": {"zone": "Zürich"}, "later": 1, "none": None}),
        event({"text": ""}, finishReason="STOP"),
    )
    assert result.finish_reason == "tool_calls"
    assert result.tool_calls == [
        call("weather", '{"city": "Oslo"}', "c1"),
        call("clock"),
        call("clock", '{"zone": "Zürich"}', later=1),
    ]


def test_a_call_behind_the_ending_changes_it():
    first, second = read(event({"text": "a"}, finishReason="STOP"), called(WEATHER))
    assert (first.finish_reason, second.finish_reason) == ("stop", "tool_calls")


def test_calls_that_were_cut_stay_incomplete():
    result = result_of(called(WEATHER, finishReason="MAX_TOKENS"))
    assert (result.finish_reason, result.tool_calls) == ("length", [])
    assert len(result.incomplete_tool_calls) == 1


def going_on(*pieces, **more):
    fields = {"partialArgs": list(pieces)} if pieces else {}
    return called({**fields, **more, "willContinue": True})


def piece(path, value=None, **more):
    kind = {str: "stringValue", bool: "boolValue", float: "numberValue", int: "numberValue"}
    said = {kind[type(value)]: value} if value is not None else {"nullValue": None}
    return {"jsonPath": path, **said, **more}


def test_streamed_arguments_are_written_as_they_come():
    chunks = read(
        going_on(name="f"),
        going_on(piece("$.id", 'A "', willContinue=True)),
        going_on(piece("$.id", "ß")),
        called({}),
    )
    texts = [delta.arguments for chunk in chunks for delta in chunk.tool_calls]
    assert texts == ["", '{"id": "A \\"', 'ß"', "}"]


def test_streamed_arguments_may_have_any_form():
    arguments = {
        "a": {"b": [1, {"c": None}, [True, "x"]], "d e": "y"},
        "f": 0.5,
        "it's": {"g": "z"},
    }
    calls = functions_of(
        going_on(piece("$.a.b[0]", 1), name="f", id="c1"),
        going_on(piece("$.a.b[1].c"), piece("$.a.b[2][0]", True)),
        going_on(piece("$.a.b[2][1]", "x"), piece("$.a['d e']", "y")),
        going_on(piece("$.f", 0.5), piece(r"$['it\'s'].g", willContinue=True, value="")),
        going_on(piece(r"$['it\'s'].g", "z", willContinue=True)),
        called({"id": "c1"}, finishReason="STOP"),
    )
    assert calls == [("f", json.dumps(arguments))]


def test_a_string_may_begin_without_a_value_and_end_so():
    start = {"jsonPath": '$["a b"]', "willContinue": True}
    assert functions_of(
        going_on(start, name="f"),
        going_on(piece('$["a b"]', "x", willContinue=True)),
        going_on({"jsonPath": '$["a b"]'}),
        called({}),
    ) == [("f", '{"a b": "x"}')]


def test_a_string_that_was_left_open_ends_before_the_next_value():
    assert functions_of(
        going_on(piece("$.a", "x", willContinue=True), name="f"),
        going_on(piece("$.b", 2)),
        called({}),
    ) == [("f", '{"a": "x", "b": 2}')]


def test_streamed_calls_may_be_mixed_if_they_have_ids():
    assert functions_of(
        going_on(name="f", id="1"),
        going_on(name="g", id="2"),
        going_on(piece("$.a", 1), id="1"),
        going_on(piece("$.b", 2)),  # of the call that the last piece was of
        going_on(piece("$.c", 3), id="2"),
        called({"id": "1"}),
        called({"id": "2", "name": "g"}),
    ) == [("f", '{"a": 1, "b": 2}'), ("g", '{"c": 3}')]


def test_a_streamed_call_may_give_its_arguments_as_a_whole():
    assert functions_of(going_on(name="f"), called({"args": {"a": 1}})) == [("f", '{"a": 1}')]
    again = called({"args": {"a": 1}})
    assert functions_of(going_on(piece("$.a", 1), name="f"), again) == [("f", '{"a": 1}')]


def test_a_streamed_call_that_breaks_off_shows_what_came():
    calls = functions_of(going_on(piece("$.a", "x", willContinue=True), name="f"))
    assert calls == [("f", '{"a": "x')]


def test_a_call_without_anything_is_left_out():
    quirks = set()
    (chunk,) = read(called({}), quirks=quirks)
    assert chunk.tool_calls == ()
    assert quirks == {"empty_function_call"}


@pytest.mark.parametrize(
    "paths",
    [
        ["$.a", "$.a"],
        ["$.a", "$.a.b"],
        ["$.a.b", "$.a"],
        ["$.a", "$.b", "$.a"],
        ["$.a[0]", "$.b", "$.a[1]"],
        ["$.a[1]"],
        ["$.a[0]", "$.a[2]"],
        ["$.a[0]", "$.a.b"],
    ],
)
def test_streamed_arguments_that_go_back_are_an_error(paths):
    with pytest.raises(StreamProtocolError, match="come back to"):
        read(going_on(*(piece(path, 1) for path in paths), name="f"))


@pytest.mark.parametrize("path", ["", "$", "a", "$.", "$..a", "$.*", "$[a]", "$[-1]", "x.a"])
def test_a_path_that_names_no_argument_is_an_error(path):
    with pytest.raises(StreamProtocolError, match="is no path to one argument"):
        read(going_on(piece(path, 1), name="f"))


def test_a_call_that_was_garbled_is_not_gone_on_with():
    dialect, chunks = GeminiDialect(set()), []
    with pytest.raises(StreamProtocolError):
        dialect.read(called({"name": "f", "partialArgs": [piece("$.*", 1)]}), chunks, None)
    dialect.read(called({"name": "f", "args": {"a": 1}}), chunks, None)
    (delta,) = chunks[-1].tool_calls
    assert (delta.name, delta.arguments) == ("f", '{"a": 1}')
    assert delta.index == 1


# The stream: what stands beside the answer


def test_tools_of_the_server_are_no_calls_of_ours():
    code, ran = {"code": "1+1", "language": "PYTHON", "id": "c1"}, {"outcome": "OUTCOME_OK"}
    result = result_of(
        event({"executableCode": code, "thoughtSignature": "s1"}),
        event({"codeExecutionResult": ran}, {"text": "2"}),
        event({"toolCall": {"toolType": "FILE_SEARCH"}}, {"toolResponse": {"id": "t"}}),
        event(finishReason="STOP"),
    )
    assert (result.content, result.tool_calls, result.finish_reason) == ("2", [], "stop")
    arguments = '{"code": "1+1", "language": "PYTHON"}'
    searched = '{"toolType": "FILE_SEARCH"}'
    executed = {"id": "c1", "name": "executableCode", "arguments": arguments}
    assert result.extra == {
        "server_tool_calls": [
            {"index": 0, **executed, "thoughtSignature": "s1"},
            {"index": 1, "id": None, "name": "toolCall", "arguments": searched},
        ],
        "server_tool_results": [{"codeExecutionResult": ran}, {"toolResponse": {"id": "t"}}],
    }


def test_parts_of_other_kinds_are_kept_whole():
    image = {"mimeType": "image/png", "data": b"\x89PNG"}
    result = result_of(
        event({"inlineData": image, "thought": True, "thoughtSignature": b"s"}),
        event({"fileData": {"fileUri": "gs://a"}}, {"hologram": 7, "text": None}),
        event({"text": "Hi", "partMetadata": {"a": 1}, "videoMetadata": None}),
    )
    assert (result.content, result.reasoning) == ("Hi", "")
    assert result.extra == {
        "parts": [
            {
                "inlineData": {"mimeType": "image/png", "data": "iVBORw=="},
                "thoughtSignature": "cw==",
                "thought": True,
            },
            {"fileData": {"fileUri": "gs://a"}},
            {"hologram": 7},
            {"partMetadata": {"a": 1}},
        ],
    }


def test_of_metadata_that_is_repeated_the_last_counts():
    low, high = [{"category": "A", "level": "LOW"}], [{"category": "A", "level": "HIGH"}]
    entry = {"renderedContent": "<b>x</b>"}
    result = result_of(
        event({"text": "a"}, groundingMetadata={}, safetyRatings=low, finishMessage="Done."),
        event({"text": "b"}, groundingMetadata={"webSearchQueries": ["q"], "entry": entry}),
        event(safetyRatings=low, finishMessage="Done.", avgLogprobs=-1),
        event(
            safetyRatings=high,
            avgLogprobs=-2,
            groundingMetadata={"webSearchQueries": ["q", "r"], "entry": entry, "chunks": [1]},
        ),
    )
    assert result.extra == {
        "safetyRatings": tuple(high),
        "finishMessage": "Done.",
        "avgLogprobs": -2,
        "groundingMetadata": {"webSearchQueries": ("q", "r"), "entry": entry, "chunks": [1]},
    }


def test_metadata_that_came_once_is_as_sent():
    citations = {"citationSources": [{"startIndex": 1, "uri": "https://example.org"}]}
    result = result_of(event({"text": "a"}, citationMetadata=citations))
    assert result.extra == {"citationMetadata": citations}


def test_a_blocked_prompt_is_a_filtered_choice():
    feedback = {"blockReason": "SAFETY", "safetyRatings": [{"category": "A"}]}
    usage = {"promptTokenCount": 4}
    (chunk,) = read({"promptFeedback": feedback, "usageMetadata": usage})
    assert (chunk.index, chunk.finish_reason, chunk.role) == (0, "content_filter", None)
    assert chunk.extra == {"promptFeedback": feedback}
    assert chunk.usage.prompt_tokens == 4


def test_feedback_on_a_prompt_that_was_let_through_is_kept_once():
    feedback = {"safetyRatings": [{"category": "A"}]}
    first, second = read(
        {**event({"text": "a"}), "promptFeedback": feedback},
        {**event({"text": "b"}), "promptFeedback": feedback},
    )
    assert first.extra == {"promptFeedback": feedback}
    assert (second.extra, second.finish_reason) == (None, None)


def test_thoughts_and_tool_prompts_are_counted_as_openai_counts_them():
    raw = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 5,
        "candidatesTokenCount": 2,
        "thoughtsTokenCount": 30,
        "cachedContentTokenCount": 4,
        "totalTokenCount": 47,
    }
    (chunk,) = read({"usageMetadata": raw})
    usage = chunk.usage
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (15, 32, 47)
    assert (usage.reasoning_tokens, usage.cached_tokens) == (30, 4)
    assert usage.raw is raw


def test_counts_that_are_not_sent_are_none():
    (chunk,) = read({"usageMetadata": {"trafficType": "ON_DEMAND"}})
    assert chunk.usage.prompt_tokens is chunk.usage.completion_tokens is None


# What is wrong


def test_a_reported_error_is_raised_behind_what_came_with_it():
    dialect, chunks = GeminiDialect(set()), []
    error = {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}
    with pytest.raises(StreamAPIError, match="overloaded") as caught:
        dialect.read({**event({"text": "Hi"}), "error": error}, chunks, None)
    assert (caught.value.code, caught.value.status_code) == (503, 503)
    assert [chunk.delta for chunk in chunks] == ["Hi"]


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        ({"candidates": "x"}, "candidates"),
        ({"candidates": ["x"]}, "candidates[0]"),
        ({"candidates": [{"content": "x"}]}, "content"),
        ({"candidates": [{"content": {"parts": "x"}}]}, "content.parts"),
        (event("x"), "content.parts[]"),
        (event({"text": 1}), "parts[].text"),
        (event({"text": "x", "thoughtSignature": 1}), "thoughtSignature"),
        (event(finishReason=1), "finishReason"),
        (called("x"), "functionCall"),
        (called({"name": 1}), "functionCall.name"),
        (called({"id": 1}), "functionCall.id"),
        (called({"args": "x"}), "functionCall.args"),
        (called({"partialArgs": "x"}), "functionCall.partialArgs"),
        (called({"partialArgs": ["x"]}), "partialArgs[]"),
        (called({"partialArgs": [{}]}), "partialArgs[].jsonPath"),
        (
            called({"partialArgs": [{"jsonPath": "$.a", "stringValue": 1}]}),
            "partialArgs[].stringValue",
        ),
        ({"promptFeedback": "x"}, "promptFeedback"),
        ({"usageMetadata": "x"}, "usageMetadata"),
    ],
)
def test_a_field_of_an_impossible_type_is_named(payload, where):
    with pytest.raises(StreamProtocolError) as caught:
        read(payload)
    assert str(caught.value).startswith(f"`{where}` is a ")


FIELDS = st.sampled_from(
    [
        "candidates", "content", "parts", "role", "text", "thought", "thoughtSignature", "index",
        "functionCall", "name", "id", "args", "partialArgs", "jsonPath", "stringValue",
        "willContinue", "numberValue", "executableCode", "codeExecutionResult", "finishReason",
        "groundingMetadata", "safetyRatings", "usageMetadata", "promptTokenCount", "error",
        "promptFeedback", "blockReason", "createTime", "responseId", "logprobsResult",
    ]
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "$.a", "$.a[0]", "STOP"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(FIELDS, VALUES, max_size=4)
PARTS = st.dictionaries(FIELDS, VALUES | OBJECTS, max_size=3) | st.fixed_dictionaries(
    {"functionCall": st.dictionaries(FIELDS, VALUES | st.lists(OBJECTS, max_size=3), max_size=4)}
)
CANDIDATES = st.builds(
    lambda parts, more: {"content": {"parts": parts}, **more}, st.lists(PARTS, max_size=3), OBJECTS
)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda candidates, more: {"candidates": candidates, **more},
            st.lists(CANDIDATES, max_size=2),
            OBJECTS,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_garbage_gives_chunks_or_a_typed_error(payloads):
    dialect, chunks, total = GeminiDialect(set()), [], Accumulator()
    for payload in payloads:
        assert GeminiDialect.recognises(payload) in (True, False)
        try:
            dialect.read(payload, chunks, payload)
        except (StreamProtocolError, StreamAPIError):
            continue
    for chunk in chunks:
        total.feed(chunk, 0.0)
    total.result()
