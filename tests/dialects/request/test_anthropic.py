"""What is asked of Claude: chats in the form of Anthropic's Messages."""

import pytest

from llm_kit import Chat
from llm_kit.dialects.request.anthropic import can_be_continued, continued_body, request_body

FORMAT = "anthropic-claude-v1"


def call(ident, name, arguments):
    return {
        "id": ident,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def body_of(*messages, **fields):
    params = fields.pop("params", {})
    return request_body(Chat(messages, model="claude-x", params=params, **fields))


def sent(*messages):
    return body_of(*messages)["messages"]


HELLO = {"role": "user", "content": "Hello"}


def test_a_plain_chat_needs_no_more_than_this():
    assert body_of(HELLO) == {
        "model": "claude-x",
        "max_tokens": 4096,
        "messages": [HELLO],
        "stream": True,
    }
    assert "model" not in request_body(Chat([HELLO]))


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_the_limit_of_the_answer_has_one_name(name):
    body = body_of(HELLO, params={name: 7})
    assert body["max_tokens"] == 7
    assert "max_completion_tokens" not in body


def test_parameters_go_into_the_body_untouched():
    thinking = {"type": "enabled", "budget_tokens": 1024}
    params = {"thinking": thinking, "top_k": 5, "stream": False, "system": "S"}
    body = body_of(HELLO, stop="END", params=params)
    assert {name: body[name] for name in params} == params
    assert body["stop_sequences"] == ["END"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n": 2}, "n is 2"),
        ({"params": {"response_format": {"type": "json_object"}}}, "write output_config="),
        ({"params": {"reasoning_effort": "low"}}, "write output_config="),
        ({"params": {"user": "u"}}, "write metadata="),
        ({"params": {"max_tokens": 1, "max_completion_tokens": 2}}, "give one"),
        ({"params": {"tool_choice": "perhaps"}}, "tool_choice is 'perhaps'"),
    ],
)
def test_what_this_api_can_not_say_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        body_of(HELLO, **fields)


def test_a_parameter_that_is_none_says_nothing():
    params = {"response_format": None, "max_tokens": None, "tool_choice": None}
    assert body_of(HELLO, n=1, params=params) == body_of(HELLO)


def test_leading_system_messages_become_the_system_prompt():
    assert body_of({"role": "system", "content": "Be kind."}, HELLO)["system"] == "Be kind."
    marked = {"type": "text", "text": "Long.", "cache_control": {"type": "ephemeral"}}
    body = body_of(
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": [marked]},
        HELLO,
    )
    assert body["system"] == [{"type": "text", "text": "Be kind."}, marked]
    assert body["messages"] == [HELLO]


def test_a_later_system_message_stays_in_its_place():
    assert sent(HELLO, {"role": "developer", "content": "Now in French."}) == [
        HELLO,
        {"role": "system", "content": "Now in French."},
    ]


def test_two_system_prompts_are_refused():
    with pytest.raises(ValueError, match="system is given twice"):
        body_of({"role": "system", "content": "a"}, HELLO, params={"system": "b"})


def test_blank_texts_are_left_out_for_the_api_refuses_them():
    said = {"role": "assistant", "content": "\n\n", "tool_calls": [call("t1", "hear", "{}")]}
    asked, told = sent(said, {"role": "assistant", "content": " "}, {**HELLO, "content": " x"})
    assert [block["type"] for block in asked["content"]] == ["tool_use"]
    assert told["content"] == " x"


def test_parts_of_a_message_become_blocks():
    link, data = "https://x.test/a.png", "data:image/png;base64,AAAA"
    pdf = "data:application/pdf;base64,BBBB"
    own = {"type": "search_result", "source": "s"}
    (message,) = sent(
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "See"},
                {"type": "text", "text": ""},
                {"type": "text", "text": " \n\n"},
                {"type": "image_url", "image_url": {"url": link, "detail": "auto"}},
                {"type": "image_url", "image_url": {"url": data}},
                {"type": "file", "file": {"filename": "b.pdf", "file_data": pdf}},
                {"type": "file", "file": {"file_data": "https://x.test/c.pdf"}},
                own,
            ],
        }
    )
    assert message["content"] == [
        {"type": "text", "text": "See"},
        {"type": "image", "source": {"type": "url", "url": link}},
        {
            "type": "image",
            "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
        },
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "BBBB"},
            "title": "b.pdf",
        },
        {"type": "document", "source": {"type": "url", "url": "https://x.test/c.pdf"}},
        own,
    ]


def test_what_else_a_part_says_is_the_apis_own():
    link, pdf = "https://x.test/a.png", "data:application/pdf;base64,BBBB"
    mark = {"cache_control": {"type": "ephemeral"}}
    content = [
        {"type": "image_url", "image_url": {"url": link}, **mark},
        {"type": "file", "file": {"file_data": pdf}, **mark},
    ]
    image, document = sent({"role": "user", "content": content})[0]["content"]
    assert image == {"type": "image", "source": {"type": "url", "url": link}, **mark}
    assert (document["type"], document["cache_control"]) == ("document", mark["cache_control"])


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
        {"type": "input_audio"},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,A", "file_id": "f"}},
        {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}},
        {"type": "file", "file": {"file_data": "data:text/csv;base64,AAAA"}},
        {"type": "image_url", "image_url": {"url": "data:,AAAA"}},
        {"type": "video_url", "video_url": {"url": "https://x.test/v"}},
        {"text": "untyped"},
        {"type": ["text"]},
    ],
)
def test_parts_that_claude_can_not_take_are_refused_with_their_place(part):
    with pytest.raises(ValueError, match=r"^messages\[1\]\.content\[1\]: the 'anthropic'"):
        sent(HELLO, {"role": "user", "content": ["See", part]})


@pytest.mark.parametrize(
    ("message", "place"),
    [
        ({"role": "function", "content": "x"}, r"messages\[1\]\.role"),
        ({"content": "x"}, r"messages\[1\]\.role"),
        ({"role": "user", "name": "Bob", "content": "x"}, r"messages\[1\]\.name"),
        ({"role": "assistant", "audio": {"id": "a"}}, r"messages\[1\]\.audio"),
        ({"role": "tool", "content": "x"}, r"messages\[1\]\.tool_call_id"),
        (
            {"role": "assistant", "tool_calls": [call(None, "f", "{}")]},
            r"messages\[1\]\.tool_calls\[0\]\.id",
        ),
        (
            {"role": "assistant", "tool_calls": [call("t", "f", '{"a')]},
            r"messages\[1\]\.tool_calls\[0\]",
        ),
    ],
)
def test_messages_that_can_not_be_said_are_refused_with_their_place(message, place):
    with pytest.raises(ValueError, match=f"^{place}"):
        sent(HELLO, message)


def test_a_message_that_is_no_dict_is_refused():
    with pytest.raises(TypeError, match=r"^messages\[1\] must be a dict, not str"):
        sent(HELLO, "Hi")


def test_a_tool_choice_that_is_no_choice_is_refused():
    with pytest.raises(TypeError, match="tool_choice must be a word or a dict, not \\[1\\]"):
        body_of(HELLO, params={"tool_choice": [1], "parallel_tool_calls": False})


def test_calls_and_their_results_become_blocks_and_results_one_message():
    picture = {"type": "image_url", "image_url": {"url": "https://x.test/a.png"}}
    direct = {**call("t1", "look", '{"a": 1}'), "caller": {"type": "direct"}}
    assert sent(
        HELLO,
        {"role": "assistant", "content": "", "tool_calls": [direct, call("t2", "hear", "")]},
        {"role": "tool", "tool_call_id": "t1", "content": "seen", "name": "look"},
        {"role": "tool", "tool_call_id": "t2", "content": [picture]},
        {"role": "user", "content": "And?"},
        {"role": "tool", "tool_call_id": "t3", "content": ""},
    ) == [
        HELLO,
        {
            "role": "assistant",
            "content": [
                {
                    "type": "tool_use",
                    "id": "t1",
                    "name": "look",
                    "input": {"a": 1},
                    "caller": {"type": "direct"},
                },
                {"type": "tool_use", "id": "t2", "name": "hear", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "seen"},
                {
                    "type": "tool_result",
                    "tool_use_id": "t2",
                    "content": [
                        {"type": "image", "source": {"type": "url", "url": "https://x.test/a.png"}}
                    ],
                },
            ],
        },
        {"role": "user", "content": "And?"},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "t3", "content": ""}],
        },
    ]


def test_refusals_are_text():
    part = {"type": "refusal", "refusal": "No."}
    assert sent(HELLO, {"role": "assistant", "content": [part], "refusal": "Never."})[1] == {
        "role": "assistant",
        "content": [{"type": "text", "text": "No."}, {"type": "text", "text": "Never."}],
    }


def test_an_answer_that_says_nothing_is_left_out():
    detail = {"type": "reasoning.text", "text": "Hm", "signature": "SIG", "format": FORMAT}
    empty = {"role": "assistant", "content": "", "reasoning_details": [detail]}
    assert sent(HELLO, empty, HELLO) == [HELLO, HELLO]


def test_only_reasoning_that_claude_signed_is_sent_back():
    details = [
        {"type": "reasoning.text", "text": "Hm", "signature": "SIG", "format": FORMAT},
        {"type": "reasoning.text", "text": "cut", "format": FORMAT},
        {"type": "reasoning.text", "text": "x", "signature": "S", "format": "google-gemini-v1"},
        {"type": "reasoning.encrypted", "data": "XXX", "format": FORMAT},
        {"type": "reasoning.text", "signature": "SIG2", "format": FORMAT},
    ]
    message = {"role": "assistant", "content": "Hi", "reasoning_details": details}
    assert sent(HELLO, message)[1]["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "SIG"},
        {"type": "redacted_thinking", "data": "XXX"},
        {"type": "thinking", "thinking": "", "signature": "SIG2"},
        {"type": "text", "text": "Hi"},
    ]


# Tools

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_tools_are_put_into_anthropics_form_and_its_own_pass():
    own = {"type": "web_search_20250305", "name": "web_search"}
    function = {"name": "f", "description": "Does.", "parameters": SCHEMA, "strict": True}
    marked = {
        "type": "function",
        "function": {"name": "g"},
        "cache_control": {"type": "ephemeral"},
    }
    body = body_of(HELLO, tools=[{"type": "function", "function": function}, marked, own])
    assert body["tools"] == [
        {"name": "f", "description": "Does.", "input_schema": SCHEMA, "strict": True},
        {
            "name": "g",
            "input_schema": {"type": "object", "properties": {}},
            "cache_control": {"type": "ephemeral"},
        },
        own,
    ]


@pytest.mark.parametrize(
    ("params", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        (
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
            {"type": "tool", "name": "f"},
        ),
        ({"tool_choice": {"type": "any"}}, {"type": "any"}),
        ({"parallel_tool_calls": True}, None),
        (
            {"parallel_tool_calls": False},
            {"type": "auto", "disable_parallel_tool_use": True},
        ),
        (
            {"parallel_tool_calls": False, "tool_choice": "required"},
            {"type": "any", "disable_parallel_tool_use": True},
        ),
        ({"parallel_tool_calls": False, "tool_choice": "none"}, {"type": "none"}),
    ],
)
def test_the_choice_of_a_tool_is_put_into_anthropics_form(params, choice):
    body = body_of(HELLO, params=params)
    assert body.get("tool_choice") == choice
    assert "parallel_tool_calls" not in body


# Going on


@pytest.mark.parametrize(
    ("more", "possible"),
    [
        ({}, True),
        ({"tool_choice": {"type": "auto"}}, True),
        ({"output_config": {"effort": "low"}}, True),
        ({"tool_choice": {"type": "any"}}, False),
        ({"tool_choice": {"type": "tool", "name": "f"}}, False),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, False),
    ],
)
def test_an_answer_that_is_forced_into_a_form_is_not_continued(more, possible):
    assert can_be_continued({**body_of(HELLO), **more}) is possible


@pytest.mark.parametrize("mode", ["auto", "instruct"])
@pytest.mark.parametrize("host", ["api.anthropic.com", "api.moonshot.ai"])
def test_claude_is_told_to_go_on(mode, host):
    body, blanks = continued_body(
        body_of(HELLO), "Once ", f"https://{host}/v1/messages", mode, "Go on."
    )
    assert blanks == ""
    assert body["messages"] == [
        HELLO,
        {"role": "assistant", "content": "Once "},
        {"role": "user", "content": "Go on."},
    ]


def test_a_prefill_is_sent_if_the_user_knows_that_the_model_takes_it():
    body, blanks = continued_body(
        body_of(HELLO), "Once ", "https://api.anthropic.com/v1/messages", "plain", "Go on."
    )
    assert blanks == " "
    assert body["messages"][-1] == {"role": "assistant", "content": "Once"}


def test_a_way_of_other_apis_is_refused():
    with pytest.raises(ValueError, match="'prefix' is no way to continue"):
        continued_body(body_of(HELLO), "Once", "https://x.test", "prefix", "")
