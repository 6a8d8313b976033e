"""Ollama's own API: what is asked of a server, and what its lines say."""

import copy

import pytest

from llm_kit import Chunk, StreamAPIError, StreamProtocolError, ToolCallDelta, Usage
from llm_kit._core.accumulator import Accumulator
from llm_kit.dialects.base import Chat
from llm_kit.dialects.ollama import OllamaDialect

NOON = "2026-08-04T12:00:00.385406455+02:00"
NOON_IN_SECONDS = 1785837600
USER = {"role": "user", "content": "Hello"}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0K"}}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}


def line(content="", *, done=False, message=(), **fields):
    """One line of a chat's stream."""
    return {
        "model": "qwen3:4b",
        "created_at": NOON,
        "message": {"role": "assistant", "content": content, **dict(message)},
        "done": done,
        **fields,
    }


def call(name="weather", arguments=None, **fields):
    return {"function": {"name": name, "arguments": arguments or {}, **fields}}


def read(*payloads):
    """The chunks of these lines, in one stream."""
    dialect, chunks = OllamaDialect(set()), []
    for payload in payloads:
        dialect.read(payload, chunks, payload)
    return chunks


def total_of(*payloads):
    """What these lines add up to."""
    total = Accumulator()
    for chunk in read(*payloads):
        total.feed(chunk, 0.0)
    return total.result()


def body_of(*messages, model=None, tools=None, stop=None, n=None, **params):
    """The body of a request, for which nothing of the caller's was changed."""
    chat = Chat(list(messages) or [USER], model, tools, stop, n, params=params)
    before = copy.deepcopy(chat)
    body = OllamaDialect.request_body(chat)
    assert chat == before
    return body


def messages_of(*messages):
    return body_of(*messages)["messages"]


# The request


def test_the_chat_has_its_path_behind_the_root():
    assert (OllamaDialect.root, OllamaDialect.path("m")) == ("/api", "/chat")


@pytest.mark.parametrize(
    ("key", "headers"), [("k", {"authorization": "Bearer k"}), ("", {}), (None, {})]
)
def test_the_key_is_a_bearer_token(key, headers):
    assert OllamaDialect.request_headers(key) == headers


def test_what_a_stream_gave_can_be_sent_back():
    """Without ids, as older versions call, results are told apart by their order."""
    result = total_of(
        line(message={"thinking": "Hm."}),
        line(message={"tool_calls": [call("a", {"x": 1}), call("b")]}),
        line(done=True, done_reason="stop"),
    )
    results = [{"role": "tool", "tool_call_id": None, "content": text} for text in "12"]
    assert messages_of(USER, result.to_message(), *results) == [
        USER,
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [
                {"type": "function", "function": {"name": "a", "arguments": {"x": 1}}},
                {"type": "function", "function": {"name": "b", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "1", "tool_name": "a"},
        {"role": "tool", "content": "2", "tool_name": "b"},
    ]


# The stream


def test_a_whole_stream():
    last = line(
        done=True,
        done_reason="stop",
        total_duration=90,
        load_duration=0,
        prompt_eval_count=26,
        eval_count=2,
    )
    chunks = read(line("Hel"), line("lo"), last)
    assert chunks == [
        Chunk("Hel", role="assistant", model="qwen3:4b", created=NOON_IN_SECONDS, raw=line("Hel")),
        Chunk("lo", model="qwen3:4b", raw=line("lo")),
        Chunk(
            finish_reason="stop",
            usage=Usage(26, 2, raw={"prompt_eval_count": 26, "eval_count": 2}),
            extra={"total_duration": 90, "load_duration": 0},
            model="qwen3:4b",
            raw=last,
        ),
    ]


def test_done_ends_the_stream():
    dialect = OllamaDialect(set())
    dialect.read(line("a"), [], None)
    assert not dialect.done
    dialect.read(line(done=True), [], None)
    assert dialect.done


def test_no_reason_is_invented_for_an_end_without_one():
    quirks, chunks = set(), []
    OllamaDialect(quirks).read(line("a", done=True), chunks, None)
    assert [chunk.finish_reason for chunk in chunks] == [None]
    assert quirks == {"done_without_reason"}


@pytest.mark.parametrize("reason", ["length", "load", "unload", "of tomorrow"])
def test_other_reasons_pass_as_they_are(reason):
    (chunk,) = read(line(done=True, done_reason=reason))
    assert chunk.finish_reason == reason


def test_thinking_is_reasoning():
    result = total_of(line(message={"thinking": "Hm"}), line(message={"thinking": "m."}), line("a"))
    assert (result.reasoning, result.content) == ("Hmm.", "a")


def test_each_call_has_its_own_index():
    """The server's are all 0, or missing."""
    chunks = read(
        line(message={"tool_calls": [call("a", {"å": 1}, index=0), {"id": "call_1", **call("b")}]}),
        line(message={"tool_calls": [call("c", index=0)]}),
        line(done=True, done_reason="stop"),
    )
    assert [delta for chunk in chunks for delta in chunk.tool_calls] == [
        ToolCallDelta(0, None, "a", '{"å": 1}'),
        ToolCallDelta(1, "call_1", "b", "{}"),
        ToolCallDelta(2, None, "c", "{}"),
    ]
    assert chunks[-1].finish_reason == "tool_calls"


def test_calls_that_were_cut_are_no_calls():
    (_, last) = read(line(message={"tool_calls": [call()]}), line(done=True, done_reason="length"))
    assert last.finish_reason == "length"


def test_generated_text_is_read_too():
    first = {"model": "m", "created_at": NOON, "response": "Sky", "done": False}
    thought = {"model": "m", "thinking": "Hm.", "response": "", "done": False}
    last = {"model": "m", "response": "", "done": True, "done_reason": "stop", "context": [1, 2]}
    result = total_of(first, thought, last)
    assert (result.content, result.reasoning, result.role) == ("Sky", "Hm.", None)
    assert (result.created, result.finish_reason) == (NOON_IN_SECONDS, "stop")
    assert result.extra == {"context": [1, 2]}


def test_what_every_line_repeats_is_said_once():
    remote = {"remote_host": "https://ollama.com", "remote_model": "gpt-oss"}
    result = total_of(line("a", **remote), line("b", **remote), line(done=True, **remote))
    assert (result.content, result.extra) == ("ab", remote)


def test_fields_without_a_home_are_in_extra():
    (chunk,) = read(line("a", message={"images": ["iVBORw0K"]}, _debug_info={"x": 1}))
    assert chunk.extra == {"images": ["iVBORw0K"], "_debug_info": {"x": 1}}


def test_log_probabilities_have_the_form_that_openai_gives_them():
    items = [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -0.1}]
    result = total_of(*(line(item["token"], logprobs=[item]) for item in items))
    assert result.logprobs == {"content": items}


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({"eval_count": 2}, Usage(None, 2, raw={"eval_count": 2})),
        ({"prompt_eval_count": 2}, Usage(2, None, raw={"prompt_eval_count": 2})),
        ({"eval_count": "2"}, Usage(raw={"eval_count": "2"})),
        ({"eval_count": None, "eval_duration": 3}, None),
    ],
)
def test_usage_has_the_numbers_that_are_there(counts, usage):
    (chunk,) = read(line("a", done=True, **counts))
    assert chunk.usage == usage


@pytest.mark.parametrize(
    ("moment", "seconds"),
    [
        (NOON, NOON_IN_SECONDS),
        ("2026-08-04T10:00:00Z", NOON_IN_SECONDS),
        (NOON_IN_SECONDS, NOON_IN_SECONDS),
        ("2026-08-04T10:00:00", None),
        ("noon", None),
        (None, None),
    ],
)
def test_the_moment_is_in_seconds_since_the_epoch(moment, seconds):
    (chunk,) = read(line("a", created_at=moment))
    assert chunk.created == seconds


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"done": False},
        {"message": {"content": None, "thinking": None, "tool_calls": []}, "done": False},
        {"message": None, "response": None, "done": True},
    ],
)
def test_what_says_nothing_gives_no_chunk(payload):
    assert read(payload) == []


def test_fields_of_other_types_than_they_have_count_as_absent():
    (chunk,) = read({"model": 1, "message": {"role": 2, "content": "a"}, "done": "no"})
    assert (chunk.model, chunk.role) == (None, None)


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        ({"message": ["a"], "done": False}, "message"),
        ({"message": {"content": 1}}, r"message\.content"),
        ({"response": ["a"]}, r"message\.content"),
        ({"message": {"thinking": 1}}, r"message\.thinking"),
        ({"message": {"tool_calls": {"function": {}}}}, r"message\.tool_calls"),
        ({"message": {"tool_calls": ["a"]}}, r"message\.tool_calls\[0\]"),
        ({"message": {"tool_calls": [{"function": 1}]}}, r"tool_calls\[\]\.function"),
        (line(done=True, done_reason=1), "done_reason"),
    ],
)
def test_a_field_that_carries_the_answer_must_have_its_type(payload, where):
    with pytest.raises(StreamProtocolError, match=rf"`{where}` is a"):
        read(payload)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"error": "the model failed to generate a response"}, "the model failed to generate"),
        ({"error": {"message": "boom"}}, "boom"),
        ({"message": "slow down"}, "slow down"),
        ({"error": "Not Found", "message": "no such page"}, "no such page"),
        ({"detail": "Not Found"}, "Not Found"),
        (line(error="boom"), "boom"),
    ],
)
def test_an_error_is_raised(payload, message):
    with pytest.raises(StreamAPIError, match=message):
        read(payload)


def test_text_beside_an_error_is_not_lost():
    chunks = []
    with pytest.raises(StreamAPIError, match="boom"):
        OllamaDialect(set()).read(line("a", error="boom"), chunks, None)
    assert [chunk.delta for chunk in chunks] == ["a"]


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        (line("a"), True),
        (line(done=True), True),
        ({"model": "m", "response": "", "done": False}, True),
        ({"done": False}, False),
        ({"message": {}, "done": "false"}, False),
        ({"type": "message_start", "message": {}}, False),
        ({"choices": [{"delta": {}}]}, False),
        ({"response": {}, "type": "response.created"}, False),
        ({"error": "boom"}, False),
        ({}, False),
    ],
)
def test_recognises_its_own_only(payload, answer):
    assert OllamaDialect.recognises(payload) is answer


def test_an_answer_that_is_plain_text_can_be_gone_on_with():
    lost = OllamaDialect.request_body(Chat([{"role": "user", "content": "Hello"}]))
    assert OllamaDialect.can_be_continued(lost)
    sent, _ = OllamaDialect.continued_body(lost, "Once", "https://h/", "auto", "Go on")
    assert len(sent["messages"]) == len(lost["messages"]) + 2
