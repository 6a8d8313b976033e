"""What is asked of the Responses API: chats as its input items."""

import copy

import pytest

from llm_kit import Chat
from llm_kit.dialects.request.responses import can_be_continued, continued_body, request_body


def body(*messages, tools=None, stop=None, n=None, model="gpt-x", **params):
    return request_body(Chat(messages, model=model, tools=tools, stop=stop, n=n, params=params))


def items(*messages):
    return body(*messages)["input"]


def tool_call(arguments="{}", **fields):
    function = {"name": "look", "arguments": arguments}
    return {"id": "call_1", "type": "function", "function": function, **fields}


class TestRequest:
    def test_a_plain_chat(self):
        assert body(
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "developer", "content": [{"type": "text", "text": "Now"}]},
        ) == {
            "model": "gpt-x",
            "stream": True,
            "input": [
                {"type": "message", "role": "system", "content": "Be brief."},
                {"type": "message", "role": "user", "content": "Hi"},
                {"type": "message", "role": "assistant", "content": "Hello"},
                {
                    "type": "message",
                    "role": "developer",
                    "content": [{"type": "input_text", "text": "Now"}],
                },
            ],
        }

    def test_no_model_is_none_and_parameters_win(self):
        made = body({"role": "user", "content": "Hi"}, model=None, store=False, input="Ho")
        assert made == {"stream": True, "input": "Ho", "store": False}

    def test_images_and_files_keep_all_that_is_said_of_them(self):
        native = {"type": "input_image", "file_id": "file-1"}
        parts = [
            "Look:",
            {"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "low"}},
            {"type": "image_url", "image_url": "data:image/png;base64,aGk="},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:;base64,aGk="}},
            {"type": "file", "file": {"file_id": "file-2", "filename": "b.pdf"}},
            {"type": "image_url", "image_url": {"url": "https://x"}, "cache": 1},
            native,
        ]
        (item,) = items({"role": "user", "content": parts})
        assert item["content"] == [
            {"type": "input_text", "text": "Look:"},
            {"type": "input_image", "image_url": "https://x/y.png", "detail": "low"},
            {"type": "input_image", "image_url": "data:image/png;base64,aGk="},
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:;base64,aGk="},
            {"type": "input_file", "file_id": "file-2", "filename": "b.pdf"},
            {"type": "input_image", "image_url": "https://x", "cache": 1},
            native,
        ]

    def test_calls_and_their_results(self):
        made = items(
            {"role": "assistant", "content": None, "tool_calls": [tool_call('{"a": 1}')]},
            {"role": "tool", "tool_call_id": "call_1", "content": "21 C"},
            {"role": "assistant", "content": "Wait", "tool_calls": [tool_call({"é": 1})]},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "a"}]},
            {"role": "assistant", "tool_calls": [tool_call("")]},
            {
                "role": "tool",
                "tool_call_id": "call_1",
                "content": [{"type": "image_url", "image_url": {"url": "https://x"}}],
            },
        )
        head = {"type": "function_call", "call_id": "call_1", "name": "look"}
        result = {"type": "function_call_output", "call_id": "call_1"}
        assert made == [
            {**head, "arguments": '{"a": 1}'},
            {**result, "output": "21 C"},
            {"type": "message", "role": "assistant", "content": "Wait"},
            {**head, "arguments": '{"é": 1}'},
            {**result, "output": "a"},
            {**head, "arguments": "{}"},
            {**result, "output": [{"type": "input_image", "image_url": "https://x"}]},
        ]

    @pytest.mark.parametrize(
        "call",
        [
            {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "SELECT 1"}},
            {"id": "c", "type": "custom", "function": {"name": "sql", "arguments": "SELECT 1"}},
        ],
    )
    def test_calls_of_custom_tools_have_results_of_their_own(self, call):
        assert items(
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": "1"},
        ) == [
            {"type": "custom_tool_call", "call_id": "c", "name": "sql", "input": "SELECT 1"},
            {"type": "custom_tool_call_output", "call_id": "c", "output": "1"},
        ]

    def test_a_refusal_and_parts_of_this_api_go_along(self):
        own = {"type": "output_text", "text": "Yes", "annotations": []}
        (item,) = items({"role": "assistant", "content": [own, "And"], "refusal": "No"})
        assert item["content"] == [
            own,
            {"type": "output_text", "text": "And", "annotations": []},
            {"type": "refusal", "refusal": "No"},
        ]

    def test_an_assistant_that_said_nothing_is_no_item(self):
        assert items({"role": "assistant", "content": ""}) == []

    def test_items_of_this_api_pass_as_they_are(self):
        item = {"type": "item_reference", "id": "msg_1"}
        assert items(item)[0] is item

    @pytest.mark.parametrize(
        ("message", "place"),
        [
            ("Hi", r"messages\[0\]"),
            ({"role": "function", "name": "f", "content": "1"}, r"messages\[0\].*'function'"),
            ({"role": "assistant", "function_call": {"name": "f"}}, r"messages\[0\].*tool_calls"),
            ({"role": "user", "name": "Bo", "content": "1"}, r"messages\[0\]\.name"),
            ({"role": "assistant", "audio": {"id": "a"}}, r"messages\[0\]\.audio"),
            ({"role": "tool", "content": "1"}, r"messages\[0\]\.tool_call_id"),
            (
                {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]},
                r"messages\[0\]\.content\[0\].*audio",
            ),
            (
                {"role": "user", "content": ["a", {"type": "thinking"}]},
                r"messages\[0\]\.content\[1\].*'thinking'",
            ),
            (
                {"role": "assistant", "content": [{"type": "image_url", "image_url": "https://x"}]},
                r"messages\[0\]\.content\[0\].*image",
            ),
            (
                {"role": "assistant", "tool_calls": [tool_call(id=None)]},
                r"messages\[0\]\.tool_calls\[0\]\.id",
            ),
            ({"role": "assistant", "tool_calls": 5}, r"messages\[0\]\.tool_calls must be a list"),
            ({"role": "assistant", "tool_calls": ["x"]}, r"messages\[0\]\.tool_calls\[0\]"),
            (
                {"role": "assistant", "reasoning_details": ["x"]},
                r"messages\[0\]\.reasoning_details\[0\]",
            ),
        ],
    )
    def test_what_cannot_be_said_is_an_error_with_its_place(self, message, place):
        with pytest.raises((TypeError, ValueError), match=place):
            items(message)

    def test_two_limits_are_refused(self):
        with pytest.raises(ValueError, match="give one"):
            body(max_tokens=1, max_completion_tokens=2)

    def test_what_became_of_functions_is_told(self):
        with pytest.raises(ValueError, match="no functions: write tools"):
            body(functions=[{"name": "f"}])

    def test_stop_and_n_have_no_place(self):
        with pytest.raises(ValueError, match="stop"):
            body(stop=["\n"])
        with pytest.raises(ValueError, match="n is 2"):
            body(n=2)
        assert "n" not in body(n=1)

    def test_tools_lie_flat(self):
        own = {"type": "web_search", "search_context_size": "low"}
        function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
        grammar = {"syntax": "lark", "definition": "start: /a/"}
        custom = {"name": "c", "format": {"type": "grammar", "grammar": grammar}}
        made = body(
            tools=[
                own,
                {"type": "function", "function": {**function, "strict": True}},
                {"type": "function", "function": {"name": "g"}, "defer_loading": True},
                {"type": "custom", "custom": custom},
            ]
        )["tools"]
        assert made == [
            own,
            {"type": "function", **function, "strict": True},
            {
                "type": "function",
                "name": "g",
                "parameters": None,
                "strict": False,
                "defer_loading": True,
            },
            {"type": "custom", "name": "c", "format": {"type": "grammar", **grammar}},
        ]
        assert made[0] is own

    @pytest.mark.parametrize(
        ("choice", "made"),
        [
            ("required", "required"),
            (
                {"type": "function", "function": {"name": "f"}},
                {"type": "function", "name": "f"},
            ),
            ({"type": "web_search"}, {"type": "web_search"}),
            (
                {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [{"type": "function", "function": {"name": "f"}}],
                    },
                },
                {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "f"}],
                },
            ),
        ],
    )
    def test_a_choice_of_tools_lies_flat(self, choice, made):
        assert body(tool_choice=choice)["tool_choice"] == made

    def test_everyday_parameters_go_where_this_api_has_them(self):
        schema = {"name": "s", "schema": {"type": "object"}, "strict": True}
        made = body(
            max_tokens=5,
            reasoning_effort="low",
            reasoning={"summary": "auto"},
            response_format={"type": "json_schema", "json_schema": schema},
            verbosity="low",
            temperature=0.5,
        )
        assert made == {
            "model": "gpt-x",
            "stream": True,
            "input": [],
            "max_output_tokens": 5,
            "reasoning": {"effort": "low", "summary": "auto"},
            "text": {"format": {"type": "json_schema", **schema}, "verbosity": "low"},
            "temperature": 0.5,
        }

    def test_parameters_of_this_api_win_over_those_of_the_other(self):
        made = body(
            max_completion_tokens=2,
            reasoning_effort="low",
            reasoning={"effort": "high"},
            response_format=None,
        )
        assert made["max_output_tokens"] == 2
        assert made["reasoning"] == {"effort": "high"}
        assert "text" not in made
        assert body(max_tokens=1, max_output_tokens=3)["max_output_tokens"] == 3

    def test_the_callers_objects_are_left_as_they_are(self):
        messages = [
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
            {"role": "assistant", "tool_calls": [tool_call()], "reasoning_details": [detail()]},
            {"role": "tool", "tool_call_id": "call_1", "content": "1"},
        ]
        params = {"reasoning": {"summary": "auto"}, "reasoning_effort": "low", "max_tokens": 1}
        chat = Chat(messages, params=params)
        before = copy.deepcopy((messages, params))
        request_body(chat)
        assert (messages, params) == before


def detail(kind="encrypted", field="data", text="x", ident="rs_1", format="openai-responses-v1"):  # noqa: A002
    return {"type": f"reasoning.{kind}", field: text, "id": ident, "format": format}


class TestReasoningBack:
    def test_an_item_is_put_together_again(self):
        details = [
            detail("summary", "summary", "One"),
            detail("summary", "summary", "Two"),
            detail(text="sealed"),
            detail("text", "text", "Hm", ident=None),
            detail(text="other", format="anthropic-claude-v1"),
        ]
        made = items({"role": "assistant", "content": "Hi", "reasoning_details": details})
        assert made == [
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [
                    {"type": "summary_text", "text": "One"},
                    {"type": "summary_text", "text": "Two"},
                ],
                "encrypted_content": "sealed",
            },
            {
                "type": "reasoning",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "Hm"}],
            },
            {"type": "message", "role": "assistant", "content": "Hi"},
        ]

    def test_two_items_without_ids_stay_two(self):
        details = [detail(text="a", ident=None), detail(text="b", ident=None)]
        made = items({"role": "assistant", "reasoning_details": details})
        assert [item["encrypted_content"] for item in made] == ["a", "b"]

    def test_a_summary_alone_is_left_out(self):
        details = [detail("summary", "summary", "One"), detail("unknown", "x", ident="rs_2")]
        assert items({"role": "assistant", "reasoning_details": details}) == []


class TestContinuing:
    @pytest.mark.parametrize(
        ("params", "can"),
        [
            ({}, True),
            ({"tool_choice": "auto"}, True),
            ({"tool_choice": "required"}, False),
            ({"text": {"verbosity": "low"}}, True),
            ({"text": {"format": {"type": "text"}}}, True),
            ({"text": {"format": {"type": "json_object"}}}, False),
            ({"text": "odd"}, True),
        ],
    )
    def test_only_plain_text_goes_on(self, params, can):
        assert can_be_continued(params) is can

    @pytest.mark.parametrize("mode", ["auto", "instruct"])
    @pytest.mark.parametrize(
        "asked", ["Hi", [{"type": "message", "role": "user", "content": "Hi"}]]
    )
    def test_the_model_is_told_to_go_on(self, mode, asked):
        lost = {"model": "gpt-x", "input": asked}
        made, blanks = continued_body(lost, "Once ", "http://h", mode, "Go on")
        assert blanks == ""
        assert made == {
            "model": "gpt-x",
            "input": [
                {"type": "message", "role": "user", "content": "Hi"},
                {"type": "message", "role": "assistant", "content": "Once "},
                {"type": "message", "role": "user", "content": "Go on"},
            ],
        }
        assert lost == {"model": "gpt-x", "input": asked}

    def test_there_is_no_prefill(self):
        with pytest.raises(ValueError, match="'plain' is no way to continue"):
            continued_body({"input": []}, "x", "http://h", "plain", "Go on")
