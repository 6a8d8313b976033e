"""What Ollama is asked: chats in its own form."""

import copy

import pytest

from llm_kit import Chat
from llm_kit.dialects.request.ollama import can_be_continued, continued_body, request_body

USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}


def body_of(*messages, model=None, tools=None, stop=None, n=None, **params):
    """The body of a request, for which nothing of the caller's was changed."""
    chat = Chat(list(messages) or [USER], model, tools, stop, n, params=params)
    before = copy.deepcopy(chat)
    body = request_body(chat)
    assert chat == before
    return body


def messages_of(*messages):
    return body_of(*messages)["messages"]


def test_a_plain_body():
    assert body_of() == {"messages": [USER], "stream": True}


def test_a_full_body():
    body = body_of(
        model="qwen3:4b",
        tools=[TOOL],
        stop="END",
        n=1,
        max_tokens=5,
        temperature=0,
        top_p=0.5,
        seed=3,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        keep_alive="5m",
        logprobs=True,
    )
    assert body == {
        "messages": [USER],
        "stream": True,
        "model": "qwen3:4b",
        "tools": [TOOL],
        "options": {
            "num_predict": 5,
            "temperature": 0,
            "top_p": 0.5,
            "seed": 3,
            "presence_penalty": 0.1,
            "frequency_penalty": 0.2,
            "stop": ["END"],
        },
        "keep_alive": "5m",
        "logprobs": True,
    }


def test_the_users_own_options_win():
    options = {"num_predict": 9, "num_ctx": 4096}
    body = body_of(max_completion_tokens=5, stop=["a", "b"], options=options)
    assert body["options"] == {"num_predict": 9, "num_ctx": 4096, "stop": ["a", "b"]}


@pytest.mark.parametrize(("choice", "offered"), [(None, True), ("auto", True), ("none", False)])
def test_without_tools_no_tool_is_called(choice, offered):
    body = body_of(tools=[TOOL], tool_choice=choice)
    assert ("tools" in body, "tool_choice" in body) == (offered, False)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "f"}}])
@pytest.mark.parametrize("tools", [None, [TOOL]])
def test_a_call_can_not_be_forced(choice, tools):
    with pytest.raises(ValueError, match=r"tool_choice=.*can't be made to call"):
        body_of(tools=tools, tool_choice=choice)


def test_several_answers_are_refused():
    with pytest.raises(ValueError, match="n is 2"):
        body_of(n=2)


@pytest.mark.parametrize("name", ["logit_bias", "parallel_tool_calls", "functions"])
def test_what_would_be_ignored_is_refused(name):
    with pytest.raises(ValueError, match=f"has no {name}: "):
        body_of(**{name: "x"})
    assert body_of(**{name: None}) == body_of()


@pytest.mark.parametrize(
    ("form", "given"),
    [
        (None, {}),
        ({"type": "text"}, {}),
        ({"type": "json_object"}, {"format": "json"}),
        (
            {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
            {"format": {"type": "object"}},
        ),
    ],
)
def test_the_form_of_the_answer_is_its_format(form, given):
    assert body_of(response_format=form) == {"messages": [USER], "stream": True, **given}


@pytest.mark.parametrize(
    "form",
    [
        "json",
        {"type": "grammar"},
        {"type": "json_schema"},
        {"type": "json_schema", "json_schema": {"type": "object"}},
    ],
)
def test_another_form_is_refused(form):
    with pytest.raises(ValueError, match="response_format must be"):
        body_of(response_format=form)


@pytest.mark.parametrize(
    ("effort", "think"), [("none", False), ("low", "low"), ("high", "high"), ("max", "max")]
)
def test_the_effort_of_reasoning_is_its_think(effort, think):
    body = body_of(reasoning_effort=effort)
    assert (body["think"], "reasoning_effort" in body) == (think, False)


def test_no_effort_says_nothing():
    assert body_of(reasoning_effort=None) == body_of()


@pytest.mark.parametrize("effort", ["minimal", 3, ["low"]])
def test_another_effort_is_refused(effort):
    with pytest.raises(ValueError, match=r"reasoning_effort=.*own parameter is `think`"):
        body_of(reasoning_effort=effort)


def test_the_users_own_parameters_win():
    body = body_of(
        response_format={"type": "json_object"},
        format={"type": "array"},
        reasoning_effort="low",
        think=True,
    )
    assert (body["format"], body["think"]) == ({"type": "array"}, True)


# Messages


def test_a_developer_is_the_system():
    given = [{"role": "developer", "content": "Be brief."}, {"role": "system", "content": "Now."}]
    assert messages_of(*given) == [
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "Now."},
    ]


def test_parts_become_a_text_and_images():
    content = ["What ", {"type": "text", "text": "is this?"}, PIXEL]
    assert messages_of({"role": "user", "content": content, "images": ["R0lGOD"]}) == [
        {"role": "user", "content": "What is this?", "images": ["R0lGOD", "iVBORw0K"]}
    ]


def test_what_is_in_its_own_form_passes():
    own = {"role": "assistant", "content": "a", "thinking": "b", "images": ["R0lGOD"]}
    result = {"role": "tool", "content": "3", "tool_name": "f"}
    assert messages_of(own, result) == [own, result]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "UklGRg", "format": "wav"}},
        {"type": "file", "file": {"file_id": "f-1"}},
        {"type": "video", "video": "v"},
        {"type": "image_url", "image_url": {**PIXEL["image_url"], "detail": "high"}},
        {**PIXEL, "cache_control": {"type": "ephemeral"}},
    ],
)
def test_a_part_that_can_not_be_said_is_named_with_its_place(part):
    with pytest.raises(
        ValueError, match=r"messages\[1\]\.content\[0\]: the 'ollama' dialect has no"
    ):
        messages_of(USER, {"role": "user", "content": [part]})


@pytest.mark.parametrize("role", ["function", None, ["user"]])
def test_a_role_that_it_does_not_have_is_refused(role):
    with pytest.raises(ValueError, match=r"messages\[0\]\.role: .* no place for the role"):
        messages_of({"role": role, "content": "a"})


def test_a_legacy_function_call_is_refused():
    with pytest.raises(ValueError, match=r"^messages\[0\]\.function_call: .*write it as `tool_"):
        messages_of({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}})


def test_the_name_of_who_speaks_is_refused():
    with pytest.raises(ValueError, match=r"^messages\[0\]\.name: the 'ollama' dialect"):
        messages_of({**USER, "name": "Bo"})


def test_a_refusal_is_what_the_assistant_said():
    message = {"role": "assistant", "content": None, "refusal": "No."}
    assert messages_of(message) == [{"role": "assistant", "content": "No."}]


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_goes_back_as_thinking(field):
    message = {"role": "assistant", "content": "a", field: "Hm.", "reasoning_details": [{}]}
    assert messages_of(message) == [{"role": "assistant", "content": "a", "thinking": "Hm."}]


def test_calls_and_results():
    asked = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    result = {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "3"}]}
    assert messages_of(USER, asked, result) == [
        USER,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": {"city": "Oslo"}},
                }
            ],
        },
        {"role": "tool", "content": "3", "tool_call_id": "call_1", "tool_name": "weather"},
    ]


def test_a_result_may_name_its_function_itself():
    message = {"role": "tool", "tool_call_id": "gone", "name": "f", "content": "3"}
    assert messages_of(message)[0]["tool_name"] == "f"


@pytest.mark.parametrize("ident", [None, "call_2"])
def test_a_result_of_no_call_is_refused(ident):
    asked = {"role": "assistant", "tool_calls": [CALL] if ident else []}
    with pytest.raises(ValueError, match=r'messages\[1\]: no tool call .* as "name"'):
        messages_of(asked, {"role": "tool", "tool_call_id": ident, "content": "3"})


# Going on


@pytest.mark.parametrize(
    ("more", "answer"),
    [({}, True), ({"format": None}, True), ({"format": "json"}, False), ({"format": {}}, True)],
)
def test_json_is_not_continued(more, answer):
    assert can_be_continued({"messages": [USER], **more}) is answer


@pytest.mark.parametrize("mode", ["auto", "instruct"])
@pytest.mark.parametrize("url", ["http://localhost:11434/api/chat", "https://api.mistral.ai/api"])
def test_the_model_is_instructed_to_go_on(mode, url):
    body = {"messages": [USER], "model": "m"}
    assert continued_body(body, "Hel ", url, mode, "Go on.") == (
        {
            "messages": [
                USER,
                {"role": "assistant", "content": "Hel "},
                {"role": "user", "content": "Go on."},
            ],
            "model": "m",
        },
        "",
    )


def test_a_prefill_is_sent_on_demand():
    url = "http://localhost:11434/api/chat"
    assert continued_body({"messages": [USER]}, "Hel ", url, "plain", "") == (
        {"messages": [USER, {"role": "assistant", "content": "Hel"}]},
        " ",
    )


def test_the_way_of_another_api_is_refused():
    with pytest.raises(ValueError, match="'prefix' is no way to continue"):
        continued_body({"messages": [USER]}, "Hel", "http://h/", "prefix", "")
