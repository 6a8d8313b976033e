"""How a partial answer is sent back: the documented prefills, and the instruction elsewhere."""

import copy
from typing import get_args

import pytest

from llm_kit.dialects.request.continuing import can_be_continued, continued, mode_for
from llm_kit.policies import INSTRUCTION, ContinueMode

QUESTION = {"role": "user", "content": "Why is the sky blue?"}
ELSEWHERE = "https://llm.example/v1/chat/completions"


def body(**fields):
    return {"model": "m", "messages": [QUESTION], "stream": True, **fields}


def send_back(text="Because of ", url=ELSEWHERE, mode="auto", **fields):
    return continued(body(**fields), text, url, mode, INSTRUCTION)


def test_instruct_sends_the_text_as_it_is_and_an_instruction():
    assert send_back("Because of \n", mode="instruct", temperature=0.5) == (
        {
            "model": "m",
            "messages": [
                QUESTION,
                {"role": "assistant", "content": "Because of \n"},
                {"role": "user", "content": INSTRUCTION},
            ],
            "stream": True,
            "temperature": 0.5,
        },
        "",
    )


def test_the_instruction_is_the_callers():
    sent, _ = continued(body(), "Because", ELSEWHERE, "instruct", "Weiter!")
    assert sent["messages"][-1] == {"role": "user", "content": "Weiter!"}


@pytest.mark.parametrize(
    ("mode", "in_message", "in_body"),
    [
        ("plain", {}, {}),
        ("prefix", {"prefix": True}, {}),
        ("partial", {"partial": True}, {}),
        (
            "continue_final_message",
            {},
            {"continue_final_message": True, "add_generation_prompt": False},
        ),
    ],
)
def test_a_prefill_is_the_last_message(mode, in_message, in_body):
    assert send_back(mode=mode) == (
        {
            "model": "m",
            "messages": [
                QUESTION,
                {"role": "assistant", "content": "Because of", **in_message},
            ],
            "stream": True,
            **in_body,
        },
        " ",
    )


@pytest.mark.parametrize(
    ("text", "sent", "left_out"),
    [
        ("Because", "Because", ""),
        ("Because ", "Because", " "),
        ("  Because\n\n\t ", "  Because", "\n\n\t "),
        ("Because\N{NO-BREAK SPACE}", "Because", "\N{NO-BREAK SPACE}"),
    ],
)
def test_blanks_at_the_end_are_left_out_and_given_back(text, sent, left_out):
    got, blanks = send_back(text, mode="plain")
    assert (got["messages"][-1]["content"], blanks) == (sent, left_out)


def shape(sent):
    """Name the mode in which a body was made."""
    last = sent["messages"][-1]
    if last["role"] == "user":
        return "instruct"
    return next((mode for mode in ("prefix", "partial") if mode in last), "plain")


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("https://api.deepseek.com/beta/chat/completions", "prefix"),
        ("https://API.DeepSeek.com:443/beta/chat/completions", "prefix"),
        ("https://api.deepseek.com/beta/v1/chat/completions", "prefix"),
        ("https://api.deepseek.com/chat/completions", "instruct"),
        ("https://api.deepseek.com/v1/chat/completions", "instruct"),
        ("https://api.deepseek.com/betamax/chat/completions", "instruct"),
        ("https://api.mistral.ai/v1/chat/completions", "prefix"),
        ("https://api.moonshot.ai/v1/chat/completions", "partial"),
        ("https://api.moonshot.cn/v1/chat/completions?a=b", "partial"),
        ("https://api.openai.com/v1/chat/completions", "instruct"),
        ("https://api.anthropic.com/v1/chat/completions", "instruct"),
        ("https://generativelanguage.googleapis.com/v1beta/openai/chat/completions", "instruct"),
        ("https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions", "instruct"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions", "instruct"),
        ("https://api.groq.com/openai/v1/chat/completions", "instruct"),
        ("https://openrouter.ai/api/v1/chat/completions", "instruct"),
        ("http://localhost:8000/v1/chat/completions", "instruct"),
        ("https://api.mistral.ai.example/v1/chat/completions", "instruct"),
        ("https://not-api.mistral.ai/v1/chat/completions", "instruct"),
        ("https://proxy.example/api.mistral.ai/v1/chat/completions", "instruct"),
        ("https://api.mistral.ai@proxy.example/v1/chat/completions", "instruct"),
    ],
)
def test_auto_knows_documented_servers_by_their_address(url, mode):
    assert shape(send_back(url=url)[0]) == mode


@pytest.mark.parametrize(
    ("fields", "can"),
    [
        ({}, True),
        ({"response_format": {"type": "text"}, "tool_choice": "auto"}, True),
        ({"response_format": None, "tool_choice": "none"}, True),
        ({"response_format": {"type": "json_object"}}, False),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, False),
        ({"response_format": "json"}, False),
        ({"tool_choice": "required"}, False),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, False),
    ],
)
def test_what_is_made_to_begin_anew_cannot_be_continued(fields, can):
    assert can_be_continued(body(**fields)) is can


def test_the_callers_mode_counts_before_the_address():
    for mode in ("instruct", "plain", "partial"):
        sent, _ = send_back(url="https://api.mistral.ai/v1/chat/completions", mode=mode)
        assert shape(sent) == mode


@pytest.mark.parametrize("mode", get_args(ContinueMode))
def test_the_body_is_left_as_it_is(mode):
    original = body(stop=["\n"])
    before = copy.deepcopy(original)
    sent, _ = continued(original, "Because", ELSEWHERE, mode, INSTRUCTION)
    assert original == before
    assert sent["messages"] is not original["messages"]
    again, _ = continued(original, "Because", ELSEWHERE, mode, INSTRUCTION)
    sent["messages"][-1]["x"] = sent["x"] = 1
    assert "x" not in again
    assert "x" not in again["messages"][-1]


def test_two_losses_in_one_stream_start_from_the_same_body():
    original = body()
    for text in ("Because", "Because of the air"):
        sent, _ = continued(original, text, ELSEWHERE, "prefix", INSTRUCTION)
        assert sent["messages"] == [
            QUESTION,
            {"role": "assistant", "content": text, "prefix": True},
        ]


@pytest.mark.parametrize("mode", ["plain", "prefix", "continue_final_message"])
def test_a_prefill_of_the_callers_own_is_gone_on_with(mode):
    own = {"role": "assistant", "content": "Because", "name": "Ada"}
    sent, _ = continued(body(messages=[QUESTION, own]), " of ", ELSEWHERE, mode, INSTRUCTION)
    assert sent["messages"][0] == QUESTION
    assert sent["messages"][1].items() >= {**own, "content": "Because of"}.items()
    assert len(sent["messages"]) == 2
    assert own["content"] == "Because"


def test_a_prefill_in_parts_is_left_as_it_is():
    own = {"role": "assistant", "content": [{"type": "text", "text": "Because"}]}
    sent, _ = continued(body(messages=[QUESTION, own]), " of", ELSEWHERE, "plain", INSTRUCTION)
    assert sent["messages"] == [QUESTION, own, {"role": "assistant", "content": " of"}]


@pytest.mark.parametrize(
    ("mode", "way"), [("auto", "instruct"), ("instruct", "instruct"), ("plain", "plain")]
)
def test_where_nothing_is_known_of_servers_auto_means_to_instruct(mode, way):
    assert mode_for(mode, "mine", "instruct", "plain") == way


def test_a_mode_of_other_apis_is_refused_with_those_that_work():
    words = "'prefix' is no way to continue .* the 'mine' dialect: \"auto\", \"instruct\" are"
    with pytest.raises(ValueError, match=words):
        mode_for("prefix", "mine", "instruct")
