"""Gemini: what is asked of ``streamGenerateContent``, and what its objects say."""

import base64
import enum
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


def call(name, arguments="{}", ident=None, **more):
    function = {"name": name, "arguments": arguments}
    return {"id": ident, "type": "function", "function": function, **more}


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
    [(datetime(1970, 1, 1, 0, 1, tzinfo=UTC), 60), ("soon", None), (7, 7), (0.5, None)],
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
        (1, "stop"),
        (2, "length"),
        (4, "content_filter"),
        (5, "OTHER"),
        (7, "7"),  # it means one thing in AI Studio, and another in Vertex AI
        (enum.Enum("FinishReason", {"STOP": "STOP"}).STOP, "stop"),
    ],
)
def test_endings_are_told_in_the_fields_words(word, reason):
    (chunk,) = read(event(finishReason=word))
    assert chunk.finish_reason == reason


@pytest.mark.parametrize("word", ["FINISH_REASON_UNSPECIFIED", 0])
def test_an_unspecified_ending_is_none(word):
    (chunk,) = read(event({"text": "Hi"}, finishReason=word))
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


def test_an_ending_while_a_call_is_open_does_not_count_before_it_is_closed():
    quirks = set()
    *_, ended, closed = read(
        going_on(piece("$.a", "x", willContinue=True), name="f"),
        event({"text": "a"}, finishReason="STOP"),
        called({}),
        quirks=quirks,
    )
    assert (ended.delta, ended.finish_reason) == ("a", None)
    assert (closed.tool_calls[0].arguments, closed.finish_reason) == ('"}', "tool_calls")
    assert quirks == {"call_left_open"}


def test_a_call_that_stays_open_is_not_finished():
    begun = going_on(piece("$.a", "x"), name="g")
    result = result_of(called(WEATHER), begun, event({"text": ""}, finishReason="STOP"))
    assert (result.finish_reason, result.tool_calls) == (None, [])
    assert len(result.incomplete_tool_calls) == 2


def test_another_ending_counts_though_a_call_is_open():
    begun = going_on(piece("$.a", "x"), name="g")
    quirks = set()
    *_, ended = read(begun, event(finishReason="MAX_TOKENS"), quirks=quirks)
    assert (ended.finish_reason, quirks) == ("length", set())


def test_empty_usage_is_none():
    payload = event({"text": "a"})
    assert read({**payload, "usageMetadata": {}})[0].usage is None
    assert read({"usageMetadata": {}}) == []


def test_a_call_without_anything_is_left_out():
    quirks = set()
    (chunk,) = read(called({}), quirks=quirks)
    assert chunk.tool_calls == ()
    assert quirks == {"empty_function_call"}


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
        (event(finishReason=1.5), "finishReason"),
        (called("x"), "functionCall"),
        (called({"name": 1}), "functionCall.name"),
        (called({"id": 1}), "functionCall.id"),
        (called({"args": "x"}), "functionCall.args"),
        (called({"partialArgs": "x"}), "functionCall.partialArgs"),
        (called({"partialArgs": ["x"]}), "functionCall.partialArgs[0]"),
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


def test_an_answer_that_is_plain_text_can_be_gone_on_with():
    lost = GeminiDialect.request_body(Chat([{"role": "user", "content": "Hello"}]))
    assert GeminiDialect.can_be_continued(lost)
    sent, _ = GeminiDialect.continued_body(lost, "Once", "https://h/", "auto", "Go on")
    assert len(sent["contents"]) == len(lost["contents"]) + 2
