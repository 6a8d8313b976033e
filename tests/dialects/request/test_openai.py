"""Messages go to a Chat Completions server as they are, but for custom tools' calls."""

import pytest

from llm_kit.dialects.request.openai import sent_messages

FUNCTION = {"name": "run", "arguments": "print(1)"}
CUSTOM = {"name": "run", "input": "print(1)"}


def asking(*calls):
    return {"role": "assistant", "content": None, "tool_calls": list(calls)}


def test_a_custom_tools_call_is_sent_in_the_form_of_the_api():
    mine = {"id": "c", "type": "custom", "function": FUNCTION, "x": 1}
    other = {"id": "d", "type": "function", "function": FUNCTION}
    message, first = asking(mine, other), {"role": "user", "content": "Hello"}
    sent = sent_messages([first, message])
    assert sent[0] is first
    assert sent[1] == asking({"id": "c", "type": "custom", "x": 1, "custom": CUSTOM}, other)
    assert message == asking({"id": "c", "type": "custom", "function": FUNCTION, "x": 1}, other)


@pytest.mark.parametrize(
    "message",
    [
        "anything",
        {"role": "user", "content": "Hello"},
        {"tool_calls": 5},
        {"tool_calls": ["x"]},
        asking({"id": "c", "type": "function", "function": FUNCTION}),
        asking({"id": "c", "type": "custom", "custom": CUSTOM}),
        asking({"id": "c", "type": "custom", "function": 5}),
    ],
)
def test_anything_else_is_sent_as_it_is(message):
    messages = [message]
    assert sent_messages(messages) is messages
