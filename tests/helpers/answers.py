"""The same two answers in the wire form of every dialect that can be asked in, in pieces."""

import json

PARIS, ROME = {"city": "Paris"}, {"city": "Rome"}


def events(*payloads):
    return [f"data: {json.dumps(payload)}\n\n".encode() for payload in payloads]


def lines(*payloads):
    return [json.dumps(payload).encode() + b"\n" for payload in payloads]


def openai(delta=None, finish=None):
    return {"choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}]}


def function(index, ident, arguments):
    body = {"name": "weather", "arguments": json.dumps(arguments)}
    return {"index": index, "id": ident, "type": "function", "function": body}


def block(index, content, delta):
    return (
        {"type": "content_block_start", "index": index, "content_block": content},
        {"type": "content_block_delta", "index": index, "delta": delta},
        {"type": "content_block_stop", "index": index},
    )


def claude(blocks, stop_reason):
    return [
        {"type": "message_start", "message": {"id": "m1", "role": "assistant", "content": []}},
        *(event for content in blocks for event in content),
        {"type": "message_delta", "delta": {"stop_reason": stop_reason}, "usage": {}},
        {"type": "message_stop"},
    ]


def claude_text(index, text):
    return block(index, {"type": "text", "text": ""}, {"type": "text_delta", "text": text})


def claude_call(index, ident, arguments):
    call = {"type": "tool_use", "id": ident, "name": "weather", "input": {}}
    fragment = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
    return block(index, call, fragment)


def item(index, ident, arguments):
    call = {"type": "function_call", "id": f"fc{index}", "call_id": ident, "name": "weather"}
    place, text = {"output_index": index, "item_id": f"fc{index}"}, json.dumps(arguments)
    return (
        {"type": "response.output_item.added", **place, "item": {**call, "arguments": ""}},
        {"type": "response.function_call_arguments.delta", **place, "delta": text},
        {"type": "response.output_item.done", **place, "item": {**call, "arguments": text}},
    )


def response(*inner):
    return [
        {"type": "response.created", "response": {"id": "r1", "object": "response"}},
        *inner,
        {"type": "response.completed", "response": {"id": "r1", "status": "completed"}},
    ]


def said(text):
    return {"type": "response.output_text.delta", "output_index": 0, "delta": text}


def gemini(*parts, finish=None):
    candidate = {"index": 0, "content": {"role": "model", "parts": list(parts)}}
    return {"candidates": [{**candidate, "finishReason": finish} if finish else candidate]}


def ollama(text="", calls=(), done=False):
    message = {"role": "assistant", "content": text}
    if calls:
        functions = [{"function": {"name": "weather", "arguments": call}} for call in calls]
        message["tool_calls"] = functions
    end = {"done_reason": "stop"} if done else {}
    return {"model": "m", "message": message, "done": done, **end}


def gemini_call(arguments):
    return {"functionCall": {"name": "weather", "args": arguments}}


# Each answer in pieces of which the second has the first words.
TEXT = {
    "openai": events(
        openai({"role": "assistant"}), *(openai({"content": w}) for w in ("Hel", "lo"))
    )
    + events(openai(finish="stop"))
    + [b"data: [DONE]\n\n"],
    "responses": events(*response(said("Hel"), said("lo"))),
    "anthropic": events(
        *claude(
            [
                (
                    claude_text(0, "Hel")[1],
                    {
                        "type": "content_block_delta",
                        "index": 0,
                        "delta": {"type": "text_delta", "text": "lo"},
                    },
                )
            ],
            "end_turn",
        )
    ),
    "gemini": events(
        gemini({"text": ""}), gemini({"text": "Hel"}), gemini({"text": "lo"}), gemini(finish="STOP")
    ),
    "ollama": lines(ollama(), ollama("Hel"), ollama("lo"), ollama(done=True)),
}
CALLS = {
    "openai": events(
        openai({"role": "assistant", "tool_calls": [function(0, "c1", PARIS)]}),
        openai({"tool_calls": [function(1, "c2", ROME)]}),
        openai(finish="tool_calls"),
    ),
    "responses": events(*response(*item(0, "c1", PARIS), *item(1, "c2", ROME))),
    "anthropic": events(
        *claude([claude_call(0, "c1", PARIS), claude_call(1, "c2", ROME)], "tool_use")
    ),
    "gemini": events(gemini(gemini_call(PARIS), gemini_call(ROME)), gemini(finish="STOP")),
    "ollama": lines(ollama(calls=[PARIS, ROME]), ollama(done=True)),
}
