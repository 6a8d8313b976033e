"""
The objects of the real SDKs give the chunks that the bytes behind them give.

What an SDK drops or changes is listed, with what it does; anything else that differs is a fault.
"""

import json
import pathlib
import random

import attrs
import pytest
from peers import PEERS, finish_other_tasks

from llm_kit import LLMKitError, StreamAPIError, StreamProtocolError, normalize
from llm_kit.testing import FakeServer, Reply

pytestmark = [
    # The SDKs' own, and those of what they import.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Received unexpected tool content block:UserWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]


# Bodies, written by hand


def sse(*events, named=False, end=""):
    """Frame events; those of some APIs are named by their type."""
    frames = (
        (f"event: {event['type']}\n" if named else "") + f"data: {json.dumps(event)}\n\n"
        for event in events
    )
    return ("".join(frames) + end).encode()


def completion(*choices, failure=None):
    """A Chat Completions stream with a delta an event, and usage or a failure at its end."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1700000000}
    head |= {"model": "some-model"}
    events = [head | {"choices": [{"finish_reason": None, "index": 0} | c]} for c in choices]
    if failure:
        return sse(*events, {"error": failure})
    total = {"prompt_tokens": 9, "completion_tokens": 7, "total_tokens": 16}
    details = {
        "completion_tokens_details": {"reasoning_tokens": 3},
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    events.append(head | {"choices": [], "usage": total | details})
    return sse(*events, end="data: [DONE]\n\n")


def deltas(*values, finish="stop"):
    begin = {"delta": {"role": "assistant", "content": ""}}
    return [begin, *({"delta": value} for value in values), {"delta": {}, "finish_reason": finish}]


def piece(index, arguments, **head):
    function = {"arguments": arguments} | ({"name": head.pop("name")} if head else {})
    return {"tool_calls": [{"index": index, **head, "function": function}]}


CALLS = deltas(
    piece(0, "", id="call_1", type="function", name="weather"),
    piece(0, '{"city": '),
    piece(0, '"Oslo"}'),
    piece(1, "", id="call_2", type="function", name="weather"),
    piece(1, '{"city": "Bergen"}'),
    finish="tool_calls",
)
OPENAI = {
    "text": completion(*deltas({"content": "Hel"}, {"content": "lo Østerbro"})),
    "length": completion(*deltas({"content": "Hel"}, finish="length")),
    "calls": completion(*CALLS),
    "reasoning": completion(*deltas({"reasoning_content": "Hmm."}, {"content": "Hello"})),
    "refusal": completion(*deltas({"refusal": "I can't"}, {"refusal": " do that."})),
    "choices": completion(
        {"index": 1, "delta": {"role": "assistant", "content": "b"}},
        {"index": 0, "delta": {"role": "assistant", "content": "a"}},
        {"index": 1, "delta": {}, "finish_reason": "stop"},
        {"index": 0, "delta": {}, "finish_reason": "length"},
    ),
    "error": completion(*deltas({"content": "Hel"})[:2], failure={"message": "it failed"}),
    # A clean end without an ending: nobody may make one up.
    "cut": completion(*deltas({"content": "Hel"})[:2]),
}
WHOLE_CALLS = [
    piece(0, '{"city": "Oslo"}', id="call_1", name="weather"),
    piece(1, '{"city": "Bergen"}', id="call_2", name="weather"),
]
MISTRAL = {
    name: body for name, body in OPENAI.items() if name not in ("error", "reasoning", "refusal")
} | {
    # Its fragments would have to be whole calls.
    "calls": completion(*deltas(*WHOLE_CALLS, finish="tool_calls")),
    "reasoning": completion(
        *deltas(
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hmm."}]}]},
            {"content": [{"type": "text", "text": "Hello"}]},
            {"content": " world"},
        )
    ),
}


def responses(*events, status="completed", end=True, **ending):
    head = {"id": "resp_1", "object": "response", "created_at": 1700000000, "model": "some-model"}
    begin = {"type": "response.created", "response": {**head, "status": "in_progress"}}
    begin["response"]["output"] = []
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 16,
    }
    items = [event["item"] for event in events if event["type"] == "response.output_item.done"]
    last = {**head, "status": status, "output": items, "usage": usage, **ending}
    events = [begin, *events, *([{"type": f"response.{status}", "response": last}] * end)]
    numbered = [{**event, "sequence_number": number} for number, event in enumerate(events)]
    return sse(*numbered, named=True)


def item(place, begun, *events, **whole):
    """The events of an item, which is announced, and told again when it is whole."""
    tell = {"output_index": place}
    begun = {**begun, "id": f"item_{place}", "status": "in_progress"}
    done = {**begun, **whole, "status": "completed"}
    return [
        {"type": "response.output_item.added", "item": begun, **tell},
        *({"item_id": begun["id"], **tell, **event} for event in events),
        {"type": "response.output_item.done", "item": done, **tell},
    ]


def message(place, kind, field, *fragments, **more):
    """A message with one part."""
    text = "".join(fragments)
    named = {"output_text": "response.output_text", "refusal": "response.refusal"}[kind]
    part = {"type": kind, field: "", **more}
    at = {"content_index": 0}
    return item(
        place,
        {"type": "message", "role": "assistant", "content": []},
        {"type": "response.content_part.added", "part": part, **at},
        *({"type": f"{named}.delta", "delta": each, **at} for each in fragments),
        {"type": f"{named}.done", field: text, **at},
        {"type": "response.content_part.done", "part": {**part, field: text}, **at},
        content=[{**part, field: text}],
    )


def function_call(place, ident, *fragments):
    whole = "".join(fragments)
    kind = "response.function_call_arguments"
    begun = {"type": "function_call", "call_id": ident, "name": "weather", "arguments": ""}
    return item(
        place,
        begun,
        *({"type": f"{kind}.delta", "delta": each} for each in fragments),
        {"type": f"{kind}.done", "arguments": whole, "name": "weather"},
        arguments=whole,
    )


def summary(place, *fragments):
    kind, at = "response.reasoning_summary", {"summary_index": 0}
    part = {"type": "summary_text", "text": "".join(fragments)}
    return item(
        place,
        {"type": "reasoning", "summary": []},
        {"type": f"{kind}_part.added", "part": {"type": "summary_text", "text": ""}, **at},
        *({"type": f"{kind}_text.delta", "delta": each, **at} for each in fragments),
        {"type": f"{kind}_text.done", "text": part["text"], **at},
        {"type": f"{kind}_part.done", "part": part, **at},
        summary=[part],
        encrypted_content="c2VhbGVk",
    )


RESPONSES = {
    "text": responses(*message(0, "output_text", "text", "Hel", "lo", annotations=[])),
    "length": responses(
        *message(0, "output_text", "text", "Hel", annotations=[]),
        status="incomplete",
        incomplete_details={"reason": "max_output_tokens"},
    ),
    "calls": responses(
        *function_call(0, "call_1", '{"city": ', '"Oslo"}'),
        *function_call(1, "call_2", '{"city": "Bergen"}'),
    ),
    "reasoning": responses(
        *summary(0, "Hm", "m."), *message(1, "output_text", "text", "Hello", annotations=[])
    ),
    "refusal": responses(*message(0, "refusal", "refusal", "I can't", " do that.")),
    "error": responses(
        *message(0, "output_text", "text", "Hel", annotations=[])[:3],
        {"type": "error", "message": "it failed", "code": "server_error", "param": None},
        end=False,
    ),
}


def claude(*blocks, stop="end_turn", end=True):
    """A stream of Anthropic's: blocks of (beginning, delta, ...)."""
    start = {"id": "msg_1", "type": "message", "role": "assistant", "model": "some-model"}
    usage = {"input_tokens": 5, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 0}
    start |= {"content": [], "stop_reason": None, "stop_sequence": None}
    events = [{"type": "message_start", "message": start | {"usage": usage | {"output_tokens": 1}}}]
    for index, (begun, *parts) in enumerate(blocks):
        at = {"index": index}
        events.append({"type": "content_block_start", **at, "content_block": begun})
        events.append({"type": "ping"})
        events += [{"type": "content_block_delta", **at, "delta": part} for part in parts]
        events.append({"type": "content_block_stop", **at})
    delta = {"stop_reason": stop, "stop_sequence": None}
    total = usage | {"output_tokens": 7}
    ending = [{"type": "message_delta", "delta": delta, "usage": total}, {"type": "message_stop"}]
    failed = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    return sse(*events, *(ending if end else [failed]), named=True)


def said(text):
    return {"type": "text_delta", "text": text}


def tool_use(ident, *fragments):
    begun = {"type": "tool_use", "id": ident, "name": "weather", "input": {}}
    return (begun, *({"type": "input_json_delta", "partial_json": each} for each in fragments))


BEGIN_TEXT = {"type": "text", "text": ""}
ANTHROPIC = {
    "text": claude((BEGIN_TEXT, said("Hel"), said("lo"))),
    "length": claude((BEGIN_TEXT, said("Hel")), stop="max_tokens"),
    "calls": claude(
        (BEGIN_TEXT, said("Let me see.")),
        tool_use("toolu_1", "", '{"city": ', '"Oslo"}'),
        tool_use("toolu_2", "", '{"city": "Bergen"}'),
        tool_use("toolu_3", ""),
        stop="tool_use",
    ),
    "reasoning": claude(
        (
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "Hm"},
            {"type": "thinking_delta", "thinking": "m."},
            {"type": "signature_delta", "signature": "c2lnbmVk"},
        ),
        (BEGIN_TEXT, said("Hello")),
    ),
    "refusal": claude((BEGIN_TEXT, said("I")), stop="refusal"),
    "error": claude((BEGIN_TEXT, said("Hel")), end=False),
}


def gemini(*parts, finish="STOP", **more):
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 7, "totalTokenCount": 16}
    head = {"modelVersion": "some-model", "responseId": "r1", "usageMetadata": usage}
    events = [
        {**head, "candidates": [{"content": {"role": "model", "parts": [part]}, "index": 0}]}
        for part in parts
    ]
    last = events[-1]["candidates"][0]
    last.update({"finishReason": finish, **more})
    return sse(*events)


def gemini_call(city, **more):
    return {"functionCall": {"name": "weather", "args": {"city": city}}, **more}


GEMINI = {
    "text": gemini({"text": "Hel"}, {"text": "lo"}),
    "length": gemini({"text": "Hel"}, finish="MAX_TOKENS"),
    # A signature in whose base64 both alphabets differ.
    "calls": gemini(gemini_call("Oslo", thoughtSignature="+/+/"), gemini_call("Bergen")),
    "reasoning": gemini({"text": "Hmm.", "thought": True}, {"text": "Hello"}),
    "refusal": gemini(
        {"text": "I"},
        finish="SAFETY",
        safetyRatings=[{"category": "HARM_CATEGORY_HARASSMENT", "probability": "HIGH"}],
    ),
    "picture": gemini({"inlineData": {"mimeType": "image/png", "data": "+/+/"}}),
    "error": sse({"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}),
}


def ollama(*messages, done_reason="stop"):
    head = {"model": "some-model", "created_at": "2026-01-02T03:04:05.678Z"}
    lines = [
        {**head, "message": {"role": "assistant", "content": "", **each}, "done": False}
        for each in messages
    ]
    counts = {"total_duration": 100, "prompt_eval_count": 9, "eval_count": 7}
    ending = {"message": {"role": "assistant", "content": ""}, "done": True}
    lines.append({**head, **ending, "done_reason": done_reason, **counts})
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def ollama_call(city):
    return {"function": {"name": "weather", "arguments": {"city": city}}}


OLLAMA = {
    "text": ollama({"content": "Hel"}, {"content": "lo"}),
    "length": ollama({"content": "Hel"}, done_reason="length"),
    "calls": ollama({"tool_calls": [ollama_call("Oslo"), ollama_call("Bergen")]}),
    "reasoning": ollama({"thinking": "Hmm."}, {"content": "Hello"}),
    "error": ollama({"content": "Hel"}).splitlines(keepends=True)[0] + b'{"error": "crashed"}\n',
}


def cohere(*events, finish="COMPLETE"):
    start = {"role": "assistant", "content": [], "tool_calls": [], "tool_plan": "", "citations": []}
    tokens = {"input_tokens": 9.0, "output_tokens": 7.0}
    usage = {"billed_units": {"input_tokens": 2, "output_tokens": 1}, "tokens": tokens}
    return sse(
        {"type": "message-start", "id": "m1", "delta": {"message": start}},
        *events,
        {"type": "message-end", "delta": {"finish_reason": finish, "usage": usage}},
        named=True,
    )


def cohere_content(index, field, *fragments):
    kind, at = {"text": "text", "thinking": "thinking"}[field], {"index": index}
    yield {"type": "content-start", **at, "delta": {"message": {"content": {"type": kind}}}}
    for each in fragments:
        content = {"message": {"content": {field: each}}}
        yield {"type": "content-delta", **at, "delta": content}
    yield {"type": "content-end", **at}


def cohere_call(index, *fragments):
    function = {"name": "weather", "arguments": ""}
    call = {"id": f"weather_{index}", "type": "function", "function": function}
    at = {"index": index}
    yield {"type": "tool-call-start", **at, "delta": {"message": {"tool_calls": call}}}
    for each in fragments:
        delta = {"message": {"tool_calls": {"function": {"arguments": each}}}}
        yield {"type": "tool-call-delta", **at, "delta": delta}
    yield {"type": "tool-call-end", **at}


PLAN = {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "I will look."}}}
COHERE = {
    "text": cohere(*cohere_content(0, "text", "Hel", "lo")),
    "length": cohere(*cohere_content(0, "text", "Hel"), finish="MAX_TOKENS"),
    "calls": cohere(
        PLAN,
        *cohere_call(0, '{"city": ', '"Oslo"}'),
        *cohere_call(1, '{"city": "Bergen"}'),
        finish="TOOL_CALL",
    ),
    "reasoning": cohere(
        *cohere_content(0, "thinking", "Hmm."), *cohere_content(1, "text", "Hello")
    ),
}


def texts(*choices):
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1700000000, "model": "m"}
    return sse(*(head | {"choices": [choice]} for choice in choices), end="data: [DONE]\n\n")


COMPLETIONS = {
    "text": texts(
        {"index": 0, "text": "Hel", "finish_reason": None, "logprobs": None},
        {"index": 0, "text": "lo", "finish_reason": "stop", "logprobs": None},
    ),
}
BODIES = {
    "openai": OPENAI,
    "responses": RESPONSES,
    "anthropic": ANTHROPIC,
    "gemini": GEMINI,
    "ollama": OLLAMA,
    "cohere": COHERE,
    "completions": COMPLETIONS,
}
OF_PEERS = {"mistralai": MISTRAL}  # those of its dialect that it does not refuse


# What SDKs do to what was sent

# Of these the whole is compared, for they cut it into other pieces: LiteLLM gives one choice a
# chunk, moves what stands in a finish chunk, and adds chunks; LangChain puts one at the end.
REFORMED = {"litellm", "langchain-openai", "langchain-openai-responses", "langchain-anthropic"}

# By the beginning of the place. Recorded streams may have more than those written here.
DIFFERS = {
    "google-genai": {
        "[].extra.finishMessage": "left out on the way into its models",
        "[].created": "so is createTime",
    },
    "ollama": {"[].tool_calls[].id": "not a field of its models"},
    "litellm": {
        "model": "the name that was asked for, not what the server says",
        "created": "its own clock's",
        "usage": "counted by itself where the server counts nothing; totals are its own sums",
        "choices[].refusal": "dropped",
        "refusal": "dropped",
    },
    "langchain-openai": {
        "id": "replaced by the id of a run",
        "created": "dropped",
        "model": "given with the finish_reason only",
        "choices[].refusal": "dropped",
        "refusal": "dropped",
        "choices[].reasoning": "dropped: not in OpenAI's own API",
        "reasoning": "dropped: not in OpenAI's own API",
    },
    "langchain-openai-responses": {},
    "langchain-anthropic": {
        "id": "replaced by the id of a run",
        "usage.total_tokens": "a sum of its own",
    },
}
DIFFERS_IN = {
    ("langchain-anthropic", "error"): {"usage": "what stands in message_start is dropped"},
    ("langchain-openai-responses", "error"): {
        "model": "taken from the end only",
        "created": "the same",
    },
}
# What an integration raises where the server reports an error, of no class that tells so.
RAISES = {("langchain-openai-responses", "error"): "ValueError"}
CRASHES = {
    ("openai-helper", "choices"): "it takes a choice's index for its place",
}
# Seen in recorded streams only.
MORE_DIFFERS = {
    "openai": {"[].logprobs": "0 is 0.0"},
    "openai-helper": {"[].logprobs": "0 is 0.0"},
    "openai-responses": {"[].logprobs": "0 is 0.0"},
    "openai-responses-helper": {"[].logprobs": "0 is 0.0"},
    "google-genai": {
        # The recordings' signatures are names, and no base64.
        "[].tool_calls[].extra.extra_content": "bytes from what was none",
        "[].extra.reasoning_details[].data": "bytes from what was none",
        "[].extra.server_tool_calls[].thoughtSignature": "bytes from what was none",
        "[].extra.server_tool_calls[].arguments": "the fields' order",
        "[].extra.citationMetadata": "citationSources is renamed to citations",
    },
    "litellm": {
        "logprobs": "0 is 0.0, and empty lists are added",
        "choices[].logprobs": "the same",
        "extra": "unknown fields of a delta are dropped with some chunks",
        "choices[].extra": "the same",
        "reasoning": "the first text's chunk is dropped, where details come with it",
        "choices[].reasoning": "the same",
        "content": "lost around lists of parts",
        "choices[].content": "the same",
        "role": "added",
        "choices[].role": "added",
        "finish_reason": "lost in a chunk that reports an error",
        "choices[].finish_reason": "the same",
        "tool_calls": "joined where the index is used again",
        "choices[].tool_calls": "the same",
        "incomplete_tool_calls": "the same",
        "choices[].incomplete_tool_calls": "the same",
    },
    "langchain-openai": {
        "logprobs": "0 is 0.0",
        "choices[].logprobs": "the same",
        "extra": "unknown fields of a delta are dropped",
        "choices[].extra": "the same",
        "role": "every message is an assistant's",
        "choices[].role": "the same",
        "usage": "added up, as LangChain does, where a server repeats it",
        "finish_reason": "lost in a chunk that reports an error",
        "choices[].finish_reason": "the same",
    },
    "langchain-openai-responses": {
        "id": "taken from response.created only",
        "model": "taken from the end only",
        "created": "the same",
        "usage": "the same",
        "logprobs": "dropped",
        "choices[].logprobs": "dropped",
        "extra": "some items are dropped, and some of their fields",
        "choices[].extra": "the same",
        "reasoning": "dropped where it comes as a whole",
        "choices[].reasoning": "the same",
        "tool_calls": "the same",
        "choices[].tool_calls": "the same",
        "finish_reason": "dropped with response.failed",
        "choices[].finish_reason": "the same",
    },
    "langchain-anthropic": {
        "usage": "what stands in message_start is dropped",
        "extra": "some blocks are dropped, empty fields added",
        "choices[].extra": "the same",
    },
}


# Comparison


def fields(value):
    """Give a chunk or a result as plain values, without what it was made from."""

    def wanted(attribute, _):
        own = {"raw", "timing", "chunk_count", "attempts", "quirks", "choices"}
        return attribute.name not in own

    plain = attrs.asdict(value, filter=wanted)
    plain["extra"] = plain["extra"] or {}
    for call in plain["tool_calls"]:
        call["extra"] = call.get("extra") or {}
    if hasattr(value, "choices"):
        plain["choices"] = [fields(choice) for choice in value.choices]
        del plain["status"]  # follows from the rest, but for a foreign error
    return plain


def differences(own, other, place=""):
    """Give the places in which two values differ."""
    if isinstance(own, dict) and isinstance(other, dict):
        for name in own.keys() | other.keys():
            where = f"{place}.{name}" if place else name
            if name in own and name in other:
                yield from differences(own[name], other[name], where)
            else:
                yield where
    elif isinstance(own, list | tuple) and isinstance(other, list | tuple):
        if len(own) != len(other):
            yield place or f"{len(own)} chunks, not {len(other)}"
        else:
            for one, two in zip(own, other, strict=True):
                yield from differences(one, two, f"{place}[]")
    elif own != other or type(own) is not type(other):
        yield place


def unexplained(own, other, reasons):
    """Give the places that differ and are not those, or within those, that have a reason."""
    inside = tuple(reason + after for reason in reasons for after in ".[")
    return {
        place
        for place in differences(own, other)
        if place not in reasons and not place.startswith(inside)
    }


def outcome(each, stream, raises=LLMKitError):
    """Read a stream; gives its chunks, its result and the error that ended it."""
    chunks, error = [], None
    try:
        chunks.extend(each(stream))
    except raises as failure:
        error = failure
    return chunks, stream.result, error


def reply(peer, body):
    kind = "application/x-ndjson" if peer.dialect == "ollama" else "text/event-stream"
    return Reply.raw(body, content_type=kind)


def compare(colour, peer, body, reasons, foreign=None):
    """
    Give what differs between our reading of a body and that of a peer's stream of it.

    `foreign` names an exception of the SDK's own that is to come in place of our error.
    """
    chunks, result, error = outcome(iter, normalize([body], dialect=peer.dialect))
    with FakeServer(reply(peer, body)) as server, peer() as asked:
        stream = normalize(asked.open(colour, server.base_url))
        raises = Exception if foreign else LLMKitError
        given, other, failure = outcome(colour.each, stream, raises)
    if type(failure).__name__ != (foreign or type(error).__name__):
        return {f"{error!r:.200}, not {failure!r:.200}"}
    if peer.name in REFORMED:
        return unexplained(fields(result), fields(other), reasons)
    if error is not None:  # the SDK raises before it gives the object that says so
        chunks = chunks[: len(given)]
    return unexplained(list(map(fields, chunks)), list(map(fields, given)), reasons)


def fails_itself(colour, peer, body):
    """Tell whether an SDK can't read a body by itself, either."""
    with FakeServer(reply(peer, body)) as server, peer() as asked:
        try:
            for _item in colour.each(asked.open(colour, server.base_url)):
                pass
        except Exception:  # noqa: BLE001  theirs are of many kinds
            return True
    return False


def installed(peer):
    if reason := peer.missing():
        pytest.skip(reason)
    return peer


CASES = [
    pytest.param(peer, case, id=f"{name} {case}")
    for name, peer in PEERS.items()
    for case in OF_PEERS.get(name, BODIES[peer.dialect])
    if not (case == "choices" and name in REFORMED)  # they have but one
]


@pytest.mark.parametrize(("peer", "case"), CASES)
def test_chunks_are_those_of_our_own_dialect(colour, peer, case):
    body = OF_PEERS.get(installed(peer).name, BODIES[peer.dialect])[case]
    key = peer.name, case
    if key in CRASHES:
        assert fails_itself(colour, peer, body)
        return
    reasons = DIFFERS.get(peer.name, {}) | DIFFERS_IN.get(key, {})
    assert compare(colour, peer, body, reasons, RAISES.get(key)) == set()


@pytest.mark.parametrize("dialect", BODIES)
def test_what_is_compared_says_something(dialect):
    for case, body in BODIES[dialect].items():
        chunks, result, error = outcome(iter, normalize([body], dialect=dialect))
        said = result.content or result.reasoning or result.refusal or result.tool_calls
        assert said or error or result.extra, case
        assert chunks or error, case
        assert (error is not None) == (case in ("error", "cut")), (case, error)
        assert case != "calls" or len(result.tool_calls) >= 2
        assert case != "reasoning" or result.reasoning == "Hmm."
        assert case != "error" or isinstance(error, StreamAPIError)


SAMPLE = 40
APIS = {
    "openai.chat": "openai",
    "openai.responses": "responses",
    "openai.completions": "completions",
    "anthropic.messages": "anthropic",
    "gemini": "gemini",
    "ollama.chat": "ollama",
    "cohere.v2": "cohere",
}


def one_choice(events):
    choices = [choice for event in events for choice in event.get("choices") or ()]
    return not any(choice.get("index") for choice in choices)


def named_objects(events):
    return {event.get("object", "") for event in events} == {"chat.completion.chunk"}


# What a recorded stream must be like for an SDK to read all of it.
READS = {
    "openai-helper": named_objects,  # it leaves out objects of other names
    "litellm": one_choice,  # it takes all for one choice's, and keeps one ending
    "langchain-openai": one_choice,
}


def recorded(folder, peer):
    """The recorded streams that a peer could have been sent."""
    folder, reads = pathlib.Path(folder), READS.get(peer.name)
    for record in json.loads((folder / "manifest.json").read_text("utf-8"))["records"]:
        if record.get("contested") or APIS[record["api"]] != peer.dialect:
            continue
        if peer.name == "mistralai" and record["provider"] != "mistral":
            continue  # it refuses what its own API would not send
        body = (folder / record["file"]).read_bytes()
        lines = [line[5:].strip() for line in body.splitlines() if line.startswith(b"data:")]
        if not reads or reads([json.loads(line) for line in lines if line.startswith(b"{")]):
            # SDKs drop a last event without its blank line. Framing is not the subject here.
            yield record["id"], body + b"\n\n"


def check_recorded(colour, peer, bodies):
    reasons = DIFFERS.get(peer.name, {}) | MORE_DIFFERS.get(peer.name, {})
    found, failing = {}, 0
    for name, body in bodies:
        try:
            unlike = compare(colour, peer, body, reasons)
        except Exception as error:  # noqa: BLE001  an SDK's own, which passes through us
            unlike = {repr(error)}
        if unlike and fails_itself(colour, peer, body):
            failing += 1
        elif unlike:
            found[name] = unlike
    print(f"{peer.name}: {len(bodies)} streams, {failing} of which the SDK can't read")  # noqa: T201
    return found


@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_recorded_streams_are_read_alike(colour, peer, streams_dir):
    bodies = list(recorded(streams_dir, installed(peer)))
    bodies = random.Random(peer.name).sample(bodies, min(SAMPLE, len(bodies)))
    assert check_recorded(colour, peer, bodies) == {}


@pytest.mark.slow
@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_all_recorded_streams_are_read_alike(colour, peer, streams_dir):
    assert check_recorded(colour, installed(peer), list(recorded(streams_dir, peer))) == {}


def test_a_mock_of_litellms_is_whole(colour):
    """It has no server that could end it; what LiteLLM adds at its end counts."""
    litellm = installed(PEERS["litellm"])._litellm()
    ask = litellm.acompletion if colour.is_async else litellm.completion
    messages = [{"role": "user", "content": "Hello"}]
    stream = normalize(colour.run(ask("gpt-4o", messages, mock_response="Hi there", stream=True)))
    assert "".join(chunk.delta for chunk in colour.each(stream)) == "Hi there"
    assert stream.result.finish_reason == "stop"
    if colour.is_async:
        colour.run(finish_other_tasks())


def test_an_object_that_is_no_part_of_a_chat_is_refused_by_its_name():
    openai = pytest.importorskip("openai")
    model = openai.types.Model.construct(id="m", object="model", owned_by="us")
    embedding = openai.types.Embedding.construct(index=0, embedding=[0.5])
    with pytest.raises(StreamProtocolError, match=r"openai\.types\.embedding\.Embedding"):
        list(normalize([embedding]))
    with pytest.raises(StreamProtocolError, match="register_adapter"):
        list(normalize([embedding, model]))
