"""Taps: which connections can be woken, for how long, and during which handshakes."""

import os
import socket
import ssl
import threading
from math import inf

import httpx
import pytest
from loopback import PATIENCE, wait_until

from llm_kit._core.session import END
from llm_kit._io.stop import Expired, Stopped, StopSignal, Woken, run
from llm_kit._io.tap import OpeningTrace, tap


class Stream:
    """What httpcore calls a network stream, over one end of a socket pair."""

    def __init__(self, sock, tls=None):
        self.sock, self.tls = sock, tls
        self.timeouts = []

    def get_extra_info(self, name):
        return {"socket": self.sock, "ssl_object": self.tls}.get(name)

    def read(self, size, timeout=None):
        self.timeouts.append(timeout)
        return self.sock.recv(size)

    def write(self, data, timeout=None):
        self.timeouts.append(timeout)
        self.sock.sendall(data)


class Response:
    def __init__(self, stream, version=b"HTTP/1.1"):
        self.extensions = {"http_version": version, "network_stream": stream}


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.settimeout(PATIENCE)
        yield ours, theirs


def in_thread(stop, call):
    """Make a call for a stop in a thread; gives the thread and where its end is told."""
    ends = []

    def target():
        try:
            ends.append(run(stop, call))
        except BaseException as error:  # noqa: BLE001  looked at by the test
            ends.append(type(error))

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread, ends


def test_what_cannot_be_woken(pair):
    assert not tap(None)
    assert not tap(httpx.Response(200))
    assert not tap(Response(Stream(pair[0]), b"HTTP/2"))
    assert not tap(Response(None))
    assert not tap(Response(Stream(object())))


@pytest.mark.parametrize("how", ["fire", "expire"])
def test_a_blocked_read_is_woken_and_the_peer_sees_the_end(pair, how):
    stream, stop = Stream(pair[0]), StopSignal()
    assert tap(Response(stream))
    assert tap(Response(stream, b"HTTP/1.0"))  # again, by a later request on this connection
    thread, ends = in_thread(stop, lambda: stream.read(10) or END)
    assert wait_until(lambda: stop.waits._wakes)
    stop.fire() if how == "fire" else stop.move(stop.waits, lambda: -inf)
    thread.join(PATIENCE)
    assert ends == [Stopped if how == "fire" else Expired]
    assert pair[1].recv(1) == b""


def test_only_the_stop_that_is_waiting_reaches_the_socket(pair):
    stream, over, other = Stream(pair[0]), StopSignal(), StopSignal()
    tap(Response(stream))
    pair[1].sendall(b"answer")
    assert run(over, lambda: stream.read(10)) == b"answer"
    over.fire()  # its read is over: the connection may be somebody else's by now
    run(other, lambda: stream.write(b"next"))
    stream.write(b"!")  # read and written by nobody that can be stopped
    assert pair[1].recv(10)[:4] == b"next"


def test_a_stopped_stream_reads_and_writes_no_more(pair):
    stream = Stream(pair[0])
    tap(Response(stream))
    for call in (lambda: stream.read(10), lambda: stream.write(b"x")):
        stop = StopSignal()

        def late(call=call, stop=stop):
            stop.fire()
            return call()

        with pytest.raises(Stopped):
            run(stop, late)
    assert stream.timeouts == []


def test_the_clients_own_timeouts_are_passed_on(pair):
    stream, stop = Stream(pair[0]), StopSignal()
    tap(Response(stream))
    run(stop, lambda: stream.write(b"question", timeout=1))
    pair[1].sendall(b"answer")
    assert run(stop, lambda: stream.read(3, timeout=300)) == b"ans"
    assert stream.read(3, timeout=2) == b"wer"
    assert stream.timeouts == [1, 300, 2]


def test_a_socket_that_is_closed_already(pair):
    stop = StopSignal()

    class Closing(Stream):
        def read(self, size, timeout=None):
            self.sock.close()
            stop.fire()

    stream = Closing(pair[0])
    tap(Response(stream))
    with pytest.raises(Stopped):
        run(stop, lambda: stream.read(1))


class Holder:
    """As requests, urllib3 and http.client hold what they read, in this order."""

    def __init__(self, name, inner):
        setattr(self, name, inner)


def test_a_response_of_requests_is_woken_where_it_reads_its_socket(pair):
    file = pair[0].makefile("rb")
    response = Holder("raw", Holder("_fp", Holder("fp", file)))
    assert tap(response)
    assert tap(response.raw)  # once is enough
    pair[1].sendall(b"line\n")
    over, stop = StopSignal(), StopSignal()
    assert run(over, file.readline) == b"line\n"
    over.fire()  # its read is over
    thread, ends = in_thread(stop, lambda: file.readline() or END)
    assert wait_until(lambda: stop.waits._wakes)
    stop.fire()
    thread.join(PATIENCE)
    assert ends == [Stopped]
    assert pair[1].recv(1) == b""
    file.close()


class Wrapped:
    """A socket of another library's, such as pyOpenSSL's."""

    def readable(self):
        return True


def test_a_file_whose_socket_is_not_known_cannot_be_woken(pair):
    assert not tap(Holder("raw", socket.SocketIO(Wrapped(), "r")))
    ring = Holder("raw", None)
    ring.raw = ring
    assert not tap(ring)


# While the connection is being made


def opening(stop, told=None):
    return OpeningTrace(stop.waits, lambda name, info: None if told is None else told.append(name))


def test_an_opening_connection_is_tapped_as_soon_as_it_has_a_socket(pair):
    stream, stop = Stream(pair[0]), StopSignal()
    trace = opening(stop)
    trace("connection.connect_tcp.started", {})
    trace("connection.connect_tcp.complete", {"return_value": stream})
    assert "read" in vars(stream)
    trace.close()


@pytest.mark.parametrize("end", ["fire", "retire", "expire"])
@pytest.mark.parametrize(
    "name",
    [
        "connection.connect_tcp.started",
        "connection.connect_unix_socket.started",
        "http11.send_request_headers.started",
        "http2.send_request_headers.started",
    ],
)
def test_nothing_is_begun_when_nobody_waits_any_more(name, end):
    stop, told = StopSignal(), []
    trace = opening(stop, told)
    trace(name, {})
    getattr(stop, end)()
    stop.renew()  # the next attempt, if there is one
    with pytest.raises(Woken):
        trace(name, {})
    trace("connection.close.started", {})  # what ends may go on
    assert told == [name, "connection.close.started"]


def test_http2_without_tls_is_untapped_when_it_turns_out(pair):
    stream = Stream(pair[0])
    trace = opening(StopSignal())
    trace("connection.connect_tcp.complete", {"return_value": stream})
    trace("http2.send_connection_init.started", {})
    assert "read" not in vars(stream)
    assert "write" not in vars(stream)


class Negotiated:
    def __init__(self, protocol):
        self._protocol = protocol

    def selected_alpn_protocol(self):
        return self._protocol


@pytest.mark.parametrize(("protocol", "tapped"), [("http/1.1", True), (None, True), ("h2", False)])
def test_after_the_handshake_the_protocol_decides(pair, protocol, tapped):
    plain, secure = Stream(pair[0]), Stream(pair[0], Negotiated(protocol))
    trace = opening(StopSignal())
    trace("connection.connect_tcp.complete", {"return_value": plain})
    trace("connection.start_tls.started", {})
    trace("connection.start_tls.complete", {"return_value": secure})
    assert ("read" in vars(secure)) == tapped


def test_a_handshake_that_nobody_waits_for_is_not_begun(pair):
    stop = StopSignal()
    trace = opening(stop)
    stream = Stream(pair[0])
    stream.close = pair[0].close
    trace("connection.connect_tcp.complete", {"return_value": stream})
    stop.fire()
    with pytest.raises(Woken):
        trace("connection.start_tls.started", {})
    assert pair[0].fileno() == -1
    assert pair[1].recv(1) == b""
    trace("connection.start_tls.failed", {"exception": OSError()})
    assert stop.waits._wakes == []


def test_a_handshake_is_woken(pair):
    # Wrapping the socket takes its descriptor: a duplicate reaches the same connection.
    stop = StopSignal()
    trace = opening(stop)
    trace("connection.connect_tcp.complete", {"return_value": Stream(pair[0])})
    trace("connection.start_tls.started", {})
    taken = socket.socket(fileno=pair[0].detach())
    with taken:
        stop.fire()
        assert pair[1].recv(1) == b""
        assert taken.recv(1) == b""
        trace("connection.start_tls.failed", {"exception": OSError()})
    assert stop.waits._wakes == []


def test_a_handshake_leaves_no_descriptor_behind(pair):
    stop = StopSignal()
    trace = opening(stop)
    trace("connection.connect_tcp.complete", {"return_value": Stream(pair[0])})
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    trace("connection.start_tls.started", {})
    trace.close()
    trace.close()
    after = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    assert after == before
    stop.fire()  # the handshake is over: nothing to wake
    pair[0].sendall(b"alive")
    assert pair[1].recv(5) == b"alive"


def test_tls_inside_tls_is_woken_by_the_outer_socket(pair, tls):
    outer = tls.client().wrap_socket(pair[0], do_handshake_on_connect=False, server_hostname="x")
    with outer:
        stop = StopSignal()
        trace = opening(stop)
        trace("connection.start_tls.complete", {"return_value": Stream(outer)})
        trace("proxy.start_tls.started", {})
        stop.fire()
        assert pair[1].recv(1) == b""
        trace.close()
        assert outer.fileno() != -1  # it isn't ours to close
    assert isinstance(outer, ssl.SSLSocket)


def test_a_handshake_of_an_unknown_connection_is_left_alone():
    trace = opening(StopSignal())
    trace("connection.start_tls.started", {})
    trace("connection.start_tls.complete", {})
    trace.close()
