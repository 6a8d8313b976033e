"""
A server that costs nothing: rendered answers over loopback, from a process of its own.

What it says is told in the URL, ``http://127.0.0.1:PORT/EVENTS/PER_WRITE``: so many deltas, so many
of them in one HTTP chunk and one write. It speaks OpenAI's chat events, and Anthropic's to those
who ask for ``/v1/messages``, and sends as fast as it can.
"""

from __future__ import annotations

import json
import socketserver
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from http.client import parse_headers
from typing import Any

from benchmarks.children import child, pin

WORDS = (" the", " stream", " of", " tokens", ",", " naïve", " and", " “quoted”")
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
OPENAI = (  # 330 bytes, as OpenAI sends them
    'data: {"id":"chatcmpl-C4kKPUqzmYcBHbZKHsXcBWbDXRnSG","object":"chat.completion.chunk",'
    '"created":1757000000,"model":"gpt-4o-mini-2024-07-18","service_tier":"default",'
    '"system_fingerprint":"fp_8bda4d3a2c","choices":[{"index":0,"delta":%s,"logprobs":null,'
    '"finish_reason":%s}],"usage":null,"obfuscation":"tXk3vQ9b"}\n\n'
)
ANTHROPIC_BEGIN = (
    {
        "type": "message_start",
        "message": {
            "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 25, "output_tokens": 1},
        },
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
)
ANTHROPIC_END = (
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 15},
    },
    {"type": "message_stop"},
)


def text_of(events: int) -> str:
    """Give the text that so many deltas add up to."""
    return "".join(words_of(events))


def words_of(events: int) -> list[str]:
    return [WORDS[place % len(WORDS)] for place in range(events)]


def openai_events(words: list[str]) -> list[str]:
    events = [OPENAI % (json.dumps({"content": word}), "null") for word in words]
    return [*events, OPENAI % ("{}", '"stop"'), "data: [DONE]\n\n"]


def anthropic_events(words: list[str]) -> list[str]:
    deltas = (
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": word},
        }
        for word in words
    )
    return list(map(as_anthropic, (*ANTHROPIC_BEGIN, *deltas, *ANTHROPIC_END)))


def as_anthropic(event: dict[str, Any]) -> str:
    """Give one of Anthropic's events as its text."""
    return f"event: {event['type']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n"


@lru_cache(maxsize=16)
def body(*, anthropic: bool, events: int, per_write: int) -> list[bytes]:
    words = words_of(events)
    return framed(anthropic_events(words) if anthropic else openai_events(words), per_write)


def framed(events: list[str], per_write: int) -> list[bytes]:
    """Give the writes of an answer: its head, so many events in each HTTP chunk, and its end."""
    places = range(0, len(events), per_write)
    writes = ("".join(events[at : at + per_write]).encode() for at in places)
    return [HEAD, *(b"%x\r\n%b\r\n" % (len(write), write) for write in writes), b"0\r\n\r\n"]


class Answer(socketserver.StreamRequestHandler):
    disable_nagle_algorithm = True

    def handle(self) -> None:
        with suppress(ConnectionError):  # who has what it wants may hang up
            while line := self.rfile.readline():
                self.rfile.read(int(parse_headers(self.rfile)["content-length"]))
                self.wfile.writelines(self.writes(*line.split()[1].decode().split("/")[1:]))

    def writes(self, events: str, per_write: str, *path: str) -> list[bytes]:
        return body(anthropic=path[-1] == "messages", events=int(events), per_write=int(per_write))


@contextmanager
def server(module: str = "server") -> Iterator[str]:
    """Run the server, or another module's; gives the URL without what is to be told in it."""
    with child(module) as process:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


def serve(answer: type[Answer] = Answer) -> None:
    """Be a server until standard input ends."""
    pin(server=True)
    listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), answer)
    listener.daemon_threads = True
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    print(listener.server_address[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve()
