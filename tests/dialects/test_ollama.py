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
    with pytest.raises(ValueError, match="n=2: Ollama gives one answer"):
        body_of(n=2)


@pytest.mark.parametrize("name", ["logit_bias", "parallel_tool_calls", "functions"])
def test_what_would_be_ignored_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}: Ollama has no such parameter"):
        body_of(**{name: None})


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
    with pytest.raises(ValueError, match=r"response_format=.*own `format`"):
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


# The request's messages


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
    ],
)
def test_a_part_that_can_not_be_said_is_named_with_its_place(part):
    with pytest.raises(ValueError, match=r"messages\[1\]\.content: the 'ollama' dialect has no"):
        messages_of(USER, {"role": "user", "content": [part]})


@pytest.mark.parametrize("role", ["function", None, ["user"]])
def test_a_role_that_it_does_not_have_is_refused(role):
    with pytest.raises(ValueError, match=r"messages\[0\]: .* no place for the role"):
        messages_of({"role": role, "content": "a"})


def test_a_legacy_function_call_is_refused():
    with pytest.raises(ValueError, match=r"messages\[0\]: .* `function_call`; give it as `tool_"):
        messages_of({"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}})


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
    with pytest.raises(ValueError, match=r'messages\[1\] is the result .* as "tool_name"'):
        messages_of(asked, {"role": "tool", "tool_call_id": ident, "content": "3"})


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


# Going on


@pytest.mark.parametrize(
    ("more", "answer"),
    [({}, True), ({"format": None}, True), ({"format": "json"}, False), ({"format": {}}, True)],
)
def test_json_is_not_continued(more, answer):
    assert OllamaDialect.can_be_continued({"messages": [USER], **more}) is answer


@pytest.mark.parametrize("mode", ["auto", "instruct"])
@pytest.mark.parametrize("url", ["http://localhost:11434/api/chat", "https://api.mistral.ai/api"])
def test_the_model_is_instructed_to_go_on(mode, url):
    body = {"messages": [USER], "model": "m"}
    assert OllamaDialect.continued_body(body, "Hel ", url, mode, "Go on.") == (
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
    assert OllamaDialect.continued_body({"messages": [USER]}, "Hel ", url, "plain", "") == (
        {"messages": [USER, {"role": "assistant", "content": "Hel"}]},
        " ",
    )


def test_the_way_of_another_api_is_refused():
    with pytest.raises(ValueError, match='"prefix" is none of Ollama\'s: use "instruct" or "pl'):
        OllamaDialect.continued_body({"messages": [USER]}, "Hel", "http://h/", "prefix", "")


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
        ({"message": "a", "done": False}, "message"),
        ({"message": {"content": 1}}, r"message\.content"),
        ({"response": ["a"]}, r"message\.content"),
        ({"message": {"thinking": 1}}, r"message\.thinking"),
        ({"message": {"tool_calls": {"function": {}}}}, r"message\.tool_calls"),
        ({"message": {"tool_calls": ["a"]}}, r"message\.tool_calls\[\]"),
        ({"message": {"tool_calls": [{"function": 1}]}}, r"tool_calls\[\]\.function"),
        (line(done=True, done_reason=1), "finish_reason"),
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
