"""What is asked of ``streamGenerateContent``: chats in Gemini's form."""

import json

import pytest

from llm_kit import Chat
from llm_kit.dialects.request.gemini import can_be_continued, continued_body, request_body

FORMAT = "google-gemini-v1"
USER = {"role": "user", "content": "Hello"}
HELLO = {"role": "user", "parts": [{"text": "Hello"}]}


def body_of(*messages, **asked):
    """The body for these messages; parameters of the API's own as ``params``."""
    return request_body(Chat(messages=list(messages) or [USER], **asked))


def parts_of(*content, role="user"):
    """The parts that one message with this content becomes."""
    (turn,) = body_of({"role": role, "content": list(content)})["contents"]
    return turn["parts"]


# Messages


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
LOW = {"url": "https://example.org/cat", "detail": "low"}
CLOSE = {"mediaResolution": {"level": "MEDIA_RESOLUTION_HIGH"}}  # the API's own
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
        (PNG | CLOSE, {"inlineData": {"mimeType": "image/png", "data": "iVBO"}} | CLOSE),
        (BARE | CLOSE, {"fileData": {"fileUri": "https://example.org/cat"}} | CLOSE),
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
            r"messages\[1\]\.content\[0\]: .* file given by its id",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"file_data": "data:,JV"}}]},
            r"messages\[1\]\.content\[0\]: the MIME type is missing",
        ),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": LOW}]},
            r"messages\[1\]\.content\[0\]: .* image with the detail 'low'",
        ),
        (
            {"role": "user", "content": [{"type": "file", "file": {"filename": "a.pdf"}}]},
            r"messages\[1\]\.content\[0\]: .* file given by its name",
        ),
        ({"role": "user", "name": "Bo", "content": "x"}, r"messages\[1\]\.name: "),
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
    ]
    message = {"role": "assistant", "content": "Yes", "reasoning_details": details}
    assert body_of(message)["contents"] == [{"role": "model", "parts": [{"text": "Yes"}]}]


def test_signatures_go_back_to_what_they_signed():
    google = {"google": {"thought_signature": "s4"}}
    details = [
        {"type": "reasoning.text", "text": "Hm", "signature": "s0", "format": FORMAT},
        {"type": "reasoning.text", "text": "So", "format": FORMAT},
        {"type": "reasoning.encrypted", "data": "s1", "format": FORMAT},
        {"type": "reasoning.encrypted", "data": "s2", "format": FORMAT},
    ]
    calls = [call("f", '{"x": 1}', "c1", extra_content=google), call("g")]
    message = {"role": "assistant", "content": "Asking", "tool_calls": calls}
    (turn,) = body_of({**message, "reasoning_details": details})["contents"]
    assert turn["parts"] == [
        {"text": "Hm", "thought": True, "thoughtSignature": "s0"},
        {"text": "So", "thought": True},
        {"text": "Asking", "thoughtSignature": "s1"},
        {"text": "", "thoughtSignature": "s2"},
        {
            "functionCall": {"name": "f", "args": {"x": 1}, "id": "c1"},
            "thoughtSignature": "s4",
        },
        {"functionCall": {"name": "g", "args": {}}},
    ]


def test_the_callers_objects_stay_as_they_are():
    messages = [USER, {"role": "user", "content": [{"inlineData": {"data": "x"}}]}]
    tools = [{"type": "function", "function": {"name": "f"}}, {"googleSearch": {}}]
    params = {"tool_choice": "auto", "seed": 1, "generationConfig": {"topK": 1}}
    before = json.dumps([messages, tools, params])
    body = body_of(*messages, tools=tools, params=params, stop="x")
    continued, _ = continued_body(body, "a", "http://h", "auto", "Go on.")
    assert json.dumps([messages, tools, params]) == before
    assert body["contents"] != continued["contents"]


# Tools and parameters


def test_functions_are_one_tool_and_others_stay_as_they_are():
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    tools = [
        {"googleSearch": {}},
        {
            "type": "function",
            "function": {"name": "f", "description": "F", "parameters": schema, "strict": True},
        },
        {"type": "function", "function": {"name": "g", "response": schema}},
    ]
    assert body_of(tools=tools)["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "F", "parametersJsonSchema": schema},
                {"name": "g", "response": schema},
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


def test_two_limits_are_refused():
    with pytest.raises(ValueError, match="give one"):
        body_of(params={"max_tokens": 1, "max_completion_tokens": 2})


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
    with pytest.raises(ValueError, match=rf"has no {name}: write generationConfig="):
        body_of(params={name: 1})


# Going on


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
    assert can_be_continued(body) is can


@pytest.mark.parametrize("mode", ["auto", "instruct"])
def test_the_model_is_told_to_go_on(mode):
    body = {"contents": [HELLO], "generationConfig": {}}
    assert continued_body(body, "It is ", "http://h", mode, "Go on.") == (
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
    with pytest.raises(ValueError, match="'plain' is no way to continue"):
        continued_body({"contents": []}, "a", "http://h", "plain", "Go on.")
