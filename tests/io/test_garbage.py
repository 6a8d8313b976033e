"""Streams that are dropped in a reference cycle are closed, but not inside the collector."""

import asyncio
import contextlib
import gc
import threading
import types

import pytest
from loopback import PATIENCE

from llm_kit._io import garbage
from llm_kit._io import http as http_module
from llm_kit._io.garbage import close_safely, watch_collector
from llm_kit.testing import FakeServer, Reply

MESSAGES = [{"role": "user", "content": "Hello"}]
STALLED = Reply.text("one two three").stall(after=2)


class Dropped:
    """Calls back when it is finalised; in a ring, so that only the collector finds it."""

    def __init__(self, call):
        self.call, self.ring = call, self

    def __del__(self):
        self.call()


@pytest.fixture(autouse=True)
def _watching():
    with contextlib.suppress(ValueError):  # begun by an earlier test
        gc.callbacks.remove(garbage._note)
    watch_collector()
    watch_collector()
    assert gc.callbacks.count(garbage._note) == 1
    gc.collect()


def test_what_notes_the_collector_is_not_written_in_python():
    # Python code that the collector calls has its KeyboardInterrupt swallowed.
    assert isinstance(garbage._note, types.BuiltinMethodType)


def test_closed_at_once_where_no_collector_runs():
    threads = []
    close_safely(lambda: threads.append(threading.get_ident()))
    assert threads == [threading.get_ident()]


def test_closed_on_another_thread_while_the_collector_runs():
    closed, threads = threading.Event(), []

    def close():
        threads.append(threading.get_ident())
        closed.set()

    Dropped(lambda: close_safely(close))
    gc.collect()
    assert closed.wait(PATIENCE)
    assert threads[0] != threading.get_ident()


def test_what_that_thread_does(caplog):
    # Here, too: no coverage tool sees a thread that `_thread` starts.
    closed = []
    garbage._close(lambda: closed.append(1))
    assert (closed, caplog.text) == ([1], "")
    garbage._close(lambda: 1 / 0)
    assert "closing a dropped stream failed" in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_a_stream_in_a_ring_gives_its_connection_up_outside_the_collector(colour):
    before = len(http_module._open)
    with FakeServer(STALLED) as server:
        stream = colour.stream(server)
        next(colour.each(stream))
        assert colour.is_async or len(http_module._open) == before + 1
        stream.ring = stream
        del stream
        gc.collect()
        closed = server.requests[0].closed
        # An async stream is closed by its loop, which must run for that.
        done = (
            asyncio.to_thread(closed.wait, PATIENCE) if colour.is_async else closed.wait(PATIENCE)
        )
        assert colour.run(done)
    assert len(http_module._open) == before


def test_only_what_is_open_is_held(colour):
    before = len(http_module._open)
    with FakeServer(Reply.text("one two")) as server:
        colour.read(colour.stream(server))
    assert len(http_module._open) == before
