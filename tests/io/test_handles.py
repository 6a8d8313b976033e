"""Behind a foreign stream: its response, or the socket at which its thread is blocked."""

import _thread
import contextlib
import http.client
import math
import socket
import sys
import threading

import attrs
import httpx
import pytest
from loopback import PATIENCE, wait_until

from llm_kit._io import handles
from llm_kit._io.handles import hang_up, tap_behind
from llm_kit.testing import FakeServer, Reply

SILENT = Reply.text("one two").stall(after=2)


class Call:
    """A call in a thread, which is left behind there."""

    def __init__(self, call, *args):
        self.returned = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(call, *args), daemon=True)
        self.thread.start()

    def _run(self, call, *args):
        try:
            call(*args)
        except (OSError, httpx.TransportError, http.client.HTTPException):
            pass  # nobody waits for it any more
        finally:
            self.returned.set()

    def is_blocked_in(self, name):
        frame = sys._current_frames()[self.thread.ident]
        return frame.f_code.co_name == name

    def socket(self):
        return handles._socket_read_at(sys._current_frames()[self.thread.ident])


def by_httpx(url, verify=True, asked=1):
    for _ in range(asked):
        try:
            with httpx.stream("POST", url, json={}, timeout=PATIENCE, verify=verify) as response:
                for _ in response.iter_bytes():
                    pass
        except httpx.TransportError:
            continue  # as SDKs do, before the headers


def by_http_client(url):
    place = httpx.URL(url)
    connection = http.client.HTTPConnection(place.host, place.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("POST", place.path, b"{}", {"content-type": "application/json"})
        response = connection.getresponse()
        while response.read(1):
            pass


@pytest.mark.parametrize("ask", [by_httpx, by_http_client])
@pytest.mark.parametrize("stage", ["before the headers", "in mid-stream"])
def test_hangs_up_where_a_thread_is_blocked(ask, stage):
    reply = SILENT if stage == "in mid-stream" else attrs.evolve(SILENT, delay=math.inf)
    with FakeServer(reply) as server:
        call = Call(ask, server.base_url)
        received = server.wait_for_request()
        hang_up(call.thread, call.returned)
        assert received.closed.wait(PATIENCE)
        assert call.returned.wait(PATIENCE)


def test_hangs_up_over_tls(tls):
    with FakeServer(SILENT, ssl_context=tls.server()) as server:
        call = Call(by_httpx, server.base_url, tls.client())
        received = server.wait_for_request()
        hang_up(call.thread, call.returned)
        assert received.closed.wait(PATIENCE)
        assert call.returned.wait(PATIENCE)


def test_hangs_up_again_when_an_sdk_tries_once_more():
    with FakeServer(SILENT) as server:
        call = Call(by_httpx, server.base_url, True, 2)
        server.wait_for_request()
        hang_up(call.thread, call.returned)
        for number in (1, 2):
            assert server.wait_for_request(number).closed.wait(PATIENCE)
        assert call.returned.wait(PATIENCE)


class Stream:
    """As httpcore's: it keeps its socket under this name."""

    def __init__(self, sock):
        self._sock = sock


@pytest.mark.parametrize(
    ("module", "found"),
    [
        ("httpcore._backends.sync", True),
        ("urllib3.response", True),
        ("httpcore._sync.http2", False),  # others share its connection
        ("redis.connection", False),  # no answer of a model: its owner may use it again
        ("ssl", False),
    ],
)
def test_only_a_socket_of_http_is_found_and_none_that_is_shared(module, found):
    namespace = {"__name__": module}
    exec("def read(self): return self._sock.recv(1)", namespace)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        call = Call(namespace["read"], Stream(ours))
        assert wait_until(lambda: call.is_blocked_in("read"))
        assert call.socket() is (ours if found else None)
        theirs.send(b"x")
        assert call.returned.wait(PATIENCE)


def test_a_thread_that_does_nothing_else():
    namespace = {"__name__": "urllib3.response"}
    exec("def read(self): return self._sock.recv(1)", namespace)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ident = _thread.start_new_thread(namespace["read"], (Stream(ours),))
        assert wait_until(lambda: handles._socket_read_at(sys._current_frames().get(ident)))
        theirs.send(b"x")
        assert wait_until(lambda: ident not in sys._current_frames())


def test_a_thread_that_computes_or_waits_for_something_else_is_left_alone():
    event = threading.Event()
    call = Call(event.wait, PATIENCE)
    assert wait_until(lambda: call.is_blocked_in("wait"))
    assert call.socket() is None
    event.set()
    assert call.returned.wait(PATIENCE)
    call.thread.join(PATIENCE)
    handles._shut_what_is_read(call.thread)  # it has no stack any more


def test_a_thread_that_has_moved_on_meanwhile_is_left_alone(monkeypatch):
    namespace = {"__name__": "urllib3.response"}
    exec("def read(self): return self._sock.recv(1)", namespace)
    ours, theirs = socket.socketpair()
    event = threading.Event()

    def read_and_wait():
        namespace["read"](Stream(ours))
        event.wait(PATIENCE)

    def find(frame, find=handles._socket_read_at):
        found.append(find(frame))
        theirs.send(b"x")
        assert wait_until(lambda: call.is_blocked_in("wait"))
        return found[0]

    with ours, theirs:
        call, found = Call(read_and_wait), []
        assert wait_until(lambda: call.is_blocked_in("read"))
        monkeypatch.setattr(handles, "_socket_read_at", find)
        handles._shut_what_is_read(call.thread)
        assert found == [ours]
        theirs.send(b"y")
        assert ours.recv(1) == b"y"  # it may serve somebody else by now
        event.set()
        assert call.returned.wait(PATIENCE)


def test_the_watch_ends_with_the_call():
    with FakeServer(SILENT) as server:
        call = Call(by_httpx, server.base_url)
        server.wait_for_request()
        handles._watch(call.thread, call.returned)
        assert call.returned.is_set()
        assert server.requests[0].closed.wait(PATIENCE)


def test_what_waits_for_ever_is_not_watched_for_ever(monkeypatch):
    monkeypatch.setattr(handles, "_LONGEST_WATCH", 0.01)
    event = threading.Event()
    call = Call(event.wait, PATIENCE)
    handles._watch(call.thread, call.returned)
    assert not call.returned.is_set()
    event.set()


@pytest.mark.parametrize("name", ["response", "_response", "http_response", None])
def test_a_connection_is_found_by_the_names_that_sdks_use(name):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        file = http.client.HTTPResponse(ours)
        stream = type("Stream", (), {})()
        assert not tap_behind(stream)
        if name is None:
            stream = file  # itself
        else:
            setattr(stream, name, file)
        assert tap_behind(stream)
        file.close()
