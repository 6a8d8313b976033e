"""A raw socket: the floor of what the kernel and the server take."""

from __future__ import annotations

import asyncio
import json
import socket
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from benchmarks.readers.request import BODY, Show

END = b"\r\n0\r\n\r\n"
BEGIN = b"data: "
_streams: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}


def read(url: str, show: Show) -> str:
    parts = urlsplit(url)
    connection = connected(parts.hostname, parts.port)
    connection.sendall(request(url))
    answer = connection.recv(65536)
    while BEGIN not in answer:
        answer += connection.recv(65536)
    show(first_of(answer))
    while not answer.endswith(END):
        answer += connection.recv(65536)
    return text_of(answer)


async def aread(url: str, show: Show) -> str:
    parts = urlsplit(url)
    if parts.netloc not in _streams:
        _streams[parts.netloc] = await asyncio.open_connection(parts.hostname, parts.port)
    incoming, outgoing = _streams[parts.netloc]
    outgoing.write(request(url))
    answer = await incoming.read(65536)
    while BEGIN not in answer:
        answer += await incoming.read(65536)
    show(first_of(answer))
    while not answer.endswith(END):
        answer += await incoming.read(65536)
    return text_of(answer)


@cache
def connected(host: str, port: int) -> socket.socket:
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


@cache
def request(url: str) -> bytes:
    body = json.dumps(BODY).encode()
    path = urlsplit(url).path
    head = f"POST {path}/chat/completions HTTP/1.1\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def first_of(answer: bytes) -> str:
    return delta_of(answer.split(BEGIN, 1)[1].split(b"\n", 1)[0])


def delta_of(event: bytes) -> str:
    choice: dict[str, Any] = json.loads(event)["choices"][0]
    return choice["delta"].get("content") or ""


def text_of(answer: bytes) -> str:
    events = [part.split(b"\n", 1)[0] for part in answer.split(BEGIN)[1:]]
    return "".join(map(delta_of, events[:-1]))
