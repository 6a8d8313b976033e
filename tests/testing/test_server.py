"""The server answers by script over real sockets and notices at once when its peer goes."""

import concurrent.futures
import contextlib
import json
import math
import socket
import ssl
import struct
import threading
import time

import httpx
import pytest
import trustme

from llm_kit.testing import Comments, Cut, FakeServer, Pause, Reply, Reset
from llm_kit.testing.connection import Listener

PATH = "/v1/chat/completions"
WORDS = Reply.text("one two three")
LIMIT = 5.0


@pytest.fixture(scope="module")
def tls():
    """A server's and a client's TLS context that know each other."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, client


@pytest.fixture(autouse=True)
def _silent(capfd):
    """Nothing is printed and no thread is left behind, whatever a test does."""
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before
    assert capfd.readouterr() == ("", "")


def connect(server, client_context=None):
    url = httpx.URL(server.base_url)
    peer = socket.create_connection((url.host, url.port), timeout=LIMIT)
    if client_context is not None:
        return client_context.wrap_socket(
            peer, server_hostname="127.0.0.1", suppress_ragged_eofs=False
        )
    return peer


def send(peer, body=b"{}", head=b""):
    peer.sendall(b"POST %b HTTP/1.1\r\n" % PATH.encode())
    peer.sendall(b"host: x\r\n%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))


@contextlib.contextmanager
def asked(server, client_context=None):
    """A raw connection on which a request has been sent."""
    with connect(server, client_context) as peer:
        send(peer)
        yield peer


def read_all(peer):
    """Everything until the end of file."""
    received = b""
    while data := peer.recv(65536):
        received += data
    return received


def read_until(peer, mark):
    received = b""
    while mark not in received:
        data = peer.recv(65536)
        assert data, f"the end of file came before {mark!r}: {received!r}"
        received += data
    return received


def post(server, **kwargs):
    return httpx.post(f"{server.base_url}/chat/completions", timeout=LIMIT, **kwargs)


def reset_on_close(peer):
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def eventually(condition):
    """Wait for what no event tells."""
    until = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < until
        threading.Event().wait(0.001)


class TestAnswers:
    def test_a_text(self):
        with FakeServer(WORDS) as server:
            response = post(server, json={"model": "m", "stream": True})
            received = server.wait_for_request()
        assert response.status_code == 200
        assert response.headers["content-type"] == "text/event-stream"
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.content == b"".join(WORDS.steps_for({"model": "m"}))
        assert (received.method, received.path) == ("POST", PATH)
        assert received.json == {"model": "m", "stream": True}
        assert json.loads(received.body) == received.json
        assert received.headers["content-type"] == "application/json"
        assert received.headers_sent
        assert received.events_sent == 6
        assert received.finished.is_set()
        assert not received.closed.is_set()
        assert received.closed_at is None

    def test_each_request_gets_its_reply_and_the_last_repeats(self):
        with FakeServer(Reply.error(429), lambda received: Reply.json(received.json)) as server:
            assert post(server).status_code == 429
            assert post(server, json=[1]).json() == [1]
            assert post(server, json=[2]).json() == [2]
            assert post(server, content=b"no json").json() is None
            assert [received.json for received in server.requests] == [None, [1], [2], None]

    def test_without_a_script_it_quotes(self):
        messages = [{"role": "user", "content": "Ho"}]
        with FakeServer() as server:
            response = post(server, json={"messages": messages})
        assert "“Ho”." in response.text
        assert response.text.endswith("data: [DONE]\n\n")

    def test_any_post_is_scripted_and_other_paths_are_known_or_not(self):
        with FakeServer(Reply.json("scripted")) as server, httpx.Client() as client:
            root = server.base_url.removesuffix("/v1")
            models = client.get(f"{root}/v1/models?limit=1").json()
            assert models["data"][0]["id"] == "fake-model"
            for method, path in [("GET", "/"), ("DELETE", "/v1/models"), ("OPTIONS", PATH)]:
                response = client.request(method, root + path)
                assert response.status_code == 404
                message = f"no such path: {method} {path}"
                assert response.json()["error"]["message"] == message
            assert client.post(f"{root}/token").json() == "scripted"
            assert len(server.requests) == 5
            assert server.connections == 1

    def test_a_reply_function_that_fails_is_told_to_the_client(self):
        def wrong(received):
            raise LookupError("no answer here")

        replies = (wrong, lambda received: "text", Reply(lambda request: ["text"]))
        with FakeServer(*replies) as server:
            answers = [post(server) for _ in replies]
        assert [answer.status_code for answer in answers] == [500] * 3
        messages = [answer.json()["error"]["message"] for answer in answers]
        assert "LookupError('no answer here')" in messages[0]
        assert "expected a Reply from the reply function, got str" in messages[1]
        assert "expected steps of bytes" in messages[2]

    def test_each_piece_is_one_chunk_and_comes_when_it_is_its_time(self):
        reply = Reply.raw(b"abcdef", sizes=[1, 2], pace=0.02)
        with FakeServer(reply) as server, asked(server) as peer:
            received = read_until(peer, b"0\r\n\r\n")
            assert server.wait_for_request().finished.wait(LIMIT)
        head, _, body = received.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert body == b"1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n"

    def test_a_pace_takes_its_time(self):
        with FakeServer(Reply.raw(b"abc", sizes=[1, 1], pace=0.03)) as server:
            began = time.monotonic()
            assert post(server).content == b"abc"
            assert time.monotonic() - began >= 0.06

    def test_a_counted_flood_ends(self):
        reply = Reply((b"a", Comments(interval=0, count=3), b"b"))
        with FakeServer(reply) as server:
            assert post(server).content == b"a" + b": keep-alive\n\n" * 3 + b"b"
            assert server.requests[0].events_sent == 5

    def test_an_error_event(self):
        reply = WORDS.error_event(after=2, error={"message": "overloaded"})
        with FakeServer(reply) as server:
            text = post(server).text
        assert text.count("data: ") == 3
        assert text.endswith('data: {"error":{"message":"overloaded"}}\n\n')

    def test_headers_may_come_late(self):
        with FakeServer(Reply.raw(b"late").hang(0.03)) as server:
            began = time.monotonic()
            assert post(server).content == b"late"
            assert time.monotonic() - began >= 0.03

    def test_headers_and_status(self):
        reply = Reply.error(503, headers={"Retry-After": "1"}).with_headers({"x-request-id": "r"})
        with FakeServer(reply) as server:
            response = post(server)
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        assert response.headers["x-request-id"] == "r"

    def test_an_unknown_status_has_no_phrase(self):
        with FakeServer(Reply.error(529)) as server:
            assert post(server).status_code == 529


class TestFraming:
    @pytest.mark.parametrize(
        ("framing", "version", "header"),
        [
            ("close", "HTTP/1.1", ("connection", "close")),
            ("http/1.0", "HTTP/1.0", None),
            ("length", "HTTP/1.1", ("content-length", "6")),
            ("chunked", "HTTP/1.1", ("transfer-encoding", "chunked")),
        ],
    )
    def test_the_body_is_whole(self, framing, version, header):
        reply = Reply.raw(b"abcdef", sizes=[2]).with_framing(framing)
        with FakeServer(reply) as server, httpx.Client() as client:
            for _ in range(2):
                response = client.post(server.base_url)
                assert response.content == b"abcdef"
                assert response.http_version == version
                framed = {"connection", "content-length", "transfer-encoding"}
                assert {*response.headers.items()} - {("content-type", "text/event-stream")} == (
                    {header} if header else set()
                )
                assert len(framed & {*response.headers}) == bool(header)
            assert server.connections == (1 if framing in ("length", "chunked") else 2)

    def test_bare_is_what_the_steps_say(self):
        reply = Reply.raw(b"SSH-2.0-none\r\n").with_framing("bare")
        with FakeServer(reply) as server, asked(server) as peer:
            assert read_all(peer) == b"SSH-2.0-none\r\n"
            assert not server.wait_for_request().headers_sent

    def test_a_cut_answer_has_promised_the_whole_length(self):
        reply = Reply.raw(b"abcdef").with_framing("length").cut(at=2)
        incomplete = pytest.raises(httpx.RemoteProtocolError, match="2 bytes, expected 6")
        with FakeServer(reply) as server, incomplete:
            post(server)

    def test_over_tls_a_whole_body_is_told_from_a_cut_one(self, tls):
        reply = Reply.raw(b"abcdef").with_framing("close")
        with FakeServer(reply, reply.cut(at=6), ssl_context=tls[0]) as server:
            with asked(server, tls[1]) as peer:
                assert read_all(peer).endswith(b"\r\n\r\nabcdef")
            with asked(server, tls[1]) as peer:
                read_until(peer, b"abcdef")
                with pytest.raises(ssl.SSLEOFError):
                    peer.recv(1)


class TestBreaks:
    @pytest.mark.parametrize("at", [0, 1, 100, 101])
    def test_cut_after_exactly_so_many_bytes(self, at):
        with FakeServer(Reply.raw(bytes(200), sizes=[100]).cut(at=at)) as server:
            with asked(server) as peer:
                head, _, body = read_all(peer).partition(b"\r\n\r\n")
            received = server.wait_for_request()
            assert received.finished.wait(LIMIT)
            assert not received.closed.is_set()
            incomplete = pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read")
            with incomplete:
                post(server)
        assert head.startswith(b"HTTP/1.1 200")
        assert body.count(b"\0") == at
        assert b"\r\n0\r\n" not in body

    def test_reset(self):
        with FakeServer(Reply.raw(b"abcdef").reset(at=3)) as server, asked(server) as peer:
            assert server.wait_for_request().finished.wait(LIMIT)
            with pytest.raises(ConnectionResetError):
                read_all(peer)

    def test_reset_before_any_header(self):
        reply = Reply((Reset(),), framing="bare")
        with FakeServer(reply) as server, pytest.raises(httpx.ReadError):
            post(server)

    def test_cut_before_any_header(self):
        with FakeServer(Reply((Cut(),), framing="bare")) as server, asked(server) as peer:
            assert read_all(peer) == b""


class TestSeesTheClose:
    @pytest.fixture(params=["http", "https"])
    def contexts(self, request, tls):
        return tls if request.param == "https" else (None, None)

    @pytest.mark.parametrize("how", ["close", "shutdown", "reset"])
    @pytest.mark.parametrize(
        ("reply", "mark"),
        [
            pytest.param(WORDS.hang(), None, id="before headers"),
            pytest.param(WORDS.stall(), b"\r\n\r\n", id="behind headers"),
            pytest.param(WORDS.stall(after=2), b"one", id="in a stall"),
            pytest.param(Reply((b"one", Pause(60), b"two")), b"one", id="in a pause"),
            pytest.param(WORDS.comments(after=1), b": keep-alive", id="in a flood"),
            pytest.param(WORDS.comments(interval=0), b": keep-alive", id="in a fast flood"),
        ],
    )
    def test_at_once(self, contexts, reply, mark, how):
        server_context, client_context = contexts
        with (
            FakeServer(reply, ssl_context=server_context) as server,
            asked(server, client_context) as peer,
        ):
            received = server.wait_for_request()
            if mark:
                read_until(peer, mark)
            assert received.headers_sent == bool(mark)
            assert not received.closed.wait(0.01)
            before = time.monotonic()
            if how == "reset":
                reset_on_close(peer)
                peer.close()
            elif how == "shutdown":
                # The base class's, as a cancelling thread does it.
                socket.socket.shutdown(peer, socket.SHUT_RDWR)
            else:
                peer.close()
            assert received.closed.wait(LIMIT)
            assert received.finished.wait(LIMIT)
        # Two magnitudes over what a quiet machine shows, for a busy one.
        assert 0 <= received.closed_at - before < 0.5

    def test_tls_goodbye_without_fin(self, tls):
        with (
            FakeServer(WORDS.stall(after=1), ssl_context=tls[0]) as server,
            asked(server, tls[1]) as peer,
        ):
            read_until(peer, b"assistant")
            peer.settimeout(0)
            with pytest.raises(ssl.SSLError):  # the peer's own goodbye is not there
                peer.unwrap()
            assert server.wait_for_request().closed.wait(LIMIT)

    def test_while_writing_more_than_the_peer_reads(self):
        flood = Reply.raw(bytes(2**25))
        with FakeServer(flood) as server:
            with asked(server):
                received = server.wait_for_request()
                assert not received.finished.wait(0.02)
            assert received.closed.wait(LIMIT)
            assert received.events_sent == 1

    def test_httpx_leaving_a_stream(self):
        with FakeServer(WORDS.stall(after=3)) as server:
            with httpx.stream("POST", f"{server.base_url}/chat/completions") as response:
                for line in response.iter_lines():
                    if "two" in line:
                        break
            assert server.wait_for_request().closed.wait(LIMIT)

    def test_a_peer_that_talks_into_a_pause_has_not_left(self):
        with FakeServer(Reply((b"one", Pause(0.03), b"two"))) as server, asked(server) as peer:
            read_until(peer, b"one")
            peer.sendall(b"hello?")
            assert b"two" in read_all(peer)
            assert not server.wait_for_request().closed.is_set()

    def test_a_peer_that_talks_when_there_is_no_time(self):
        reply = Reply((Comments(interval=0, count=1000), b"two"))
        with FakeServer(reply) as server, asked(server) as peer:
            read_until(peer, b": keep-alive")
            with contextlib.suppress(OSError):
                peer.sendall(b"hello?")
                assert b"two" in read_all(peer)
            assert server.wait_for_request().finished.wait(LIMIT)


class TestMute:
    @pytest.mark.parametrize("secure", [False, True])
    def test_it_says_nothing_and_sees_the_close(self, tls, secure):
        with FakeServer(mute=True, ssl_context=tls[0] if secure else None) as server:
            assert server.base_url.startswith("https:" if secure else "http:")
            with connect(server) as peer:
                received = server.wait_for_request()
                send(peer)
                peer.settimeout(0.02)
                with pytest.raises(TimeoutError):
                    peer.recv(1)
                assert received.method == ""
                assert not received.closed.is_set()
                before = time.monotonic()
            assert received.closed.wait(LIMIT)
        assert 0 <= received.closed_at - before < 0.5

    def test_a_handshake_runs_into_silence(self, tls):
        with FakeServer(mute=True, ssl_context=tls[0]) as server:
            with pytest.raises(httpx.ConnectTimeout):
                httpx.post(server.base_url, verify=tls[1], timeout=0.05)
            assert server.wait_for_request().closed.wait(LIMIT)

    def test_its_own_close_is_not_the_peers(self):
        with FakeServer(mute=True) as server, connect(server):
            received = server.wait_for_request()
            server.close()
            assert received.finished.is_set()
            assert not received.closed.is_set()


class TestConnections:
    def test_one_serves_many_requests(self):
        with FakeServer(WORDS) as server, httpx.Client() as client:
            for _ in range(5):
                assert client.post(server.base_url).text.endswith("[DONE]\n\n")
            assert (server.connections, server.open_connections) == (1, 1)
            client.close()
            eventually(lambda: server.open_connections == 0)
            assert server.connections == 1

    def test_https(self, tls):
        with FakeServer(WORDS, ssl_context=tls[0]) as server:
            with httpx.Client(verify=tls[1]) as client:
                for _ in range(2):
                    assert client.post(server.base_url).text.endswith("[DONE]\n\n")
            assert server.connections == 1

    def test_a_handshake_that_fails_or_never_comes_stops_nobody(self, tls):
        with FakeServer(WORDS, ssl_context=tls[0]) as server, connect(server):
            with pytest.raises(httpx.ConnectError):
                post(server)
            with pytest.raises(httpx.TransportError):
                httpx.post(server.base_url.replace("https", "http"))
            assert post(server, verify=tls[1]).is_success
            assert len(server.requests) == 1

    def test_one_that_is_gone_before_it_is_served(self, tls):
        gone = threading.Event()

        class Slow:
            """The server's TLS context, which gets to work when the peer is gone."""

            def wrap_socket(self, peer, **kwargs):
                assert gone.wait(LIMIT)
                return tls[0].wrap_socket(peer, **kwargs)

        with FakeServer(WORDS, ssl_context=Slow()) as server:
            with connect(server) as peer:
                reset_on_close(peer)
            gone.set()
            assert post(server, verify=tls[1]).is_success
            assert len(server.requests) == 1

    def test_a_request_that_breaks_off_is_none(self):
        with FakeServer(WORDS) as server:
            with connect(server) as peer:
                peer.sendall(b"POST / HTTP/1.1\r\ncontent-length: 10\r\n\r\nhalf")
                peer.shutdown(socket.SHUT_WR)
                assert read_all(peer) == b""
            assert server.requests == []

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 411),
            (b"POST / HTTP/1.1\r\ncontent-length: x\r\n\r\n", 411),
            (b"BREW / HTTP/1.1\r\n\r\n", 501),
        ],
    )
    def test_what_it_does_not_serve(self, head, status):
        with FakeServer(WORDS) as server, connect(server) as peer:
            peer.sendall(head)
            assert b" %d " % status in read_until(peer, b"\r\n").partition(b"\r\n")[0]
            assert server.requests == []

    @pytest.mark.parametrize("count", [100, 300])
    def test_many_at_once(self, count):
        everyone = threading.Barrier(count + 1, timeout=30)

        def one(_):
            with asked(server) as peer:
                read_until(peer, b"one")
                everyone.wait()
            return True

        with FakeServer(WORDS.stall(after=2)) as server:
            with concurrent.futures.ThreadPoolExecutor(count) as pool:
                answers = pool.map(one, range(count))
                server.wait_for_request(count, timeout=30)
                assert server.open_connections == count
                everyone.wait()
                assert all(answers)
            for received in server.requests:
                assert received.closed.wait(30)
            assert server.connections == count


class TestLife:
    def test_before_the_start_there_is_no_url(self):
        server = FakeServer()
        with pytest.raises(RuntimeError, match="call start"):
            server.base_url  # noqa: B018  reading it is what fails
        assert (server.connections, server.open_connections, server.requests) == (0, 0, [])
        server.close()

    def test_start_and_close_are_idempotent(self):
        server = FakeServer(WORDS)
        assert server.start() is server.start()
        assert post(server).is_success
        server.close()
        server.close()
        with pytest.raises(httpx.ConnectError):
            post(server)

    def test_started_again_it_goes_on_at_the_same_place(self):
        server = FakeServer(Reply.json(1), Reply.json(2))
        with server:
            url = server.base_url
            assert post(server).json() == 1
        with server:
            assert server.base_url == url
            assert post(server).json() == 2
        assert server.connections == 2
        assert server.open_connections == 0

    def test_a_given_port(self):
        with FakeServer() as server:
            port = httpx.URL(server.base_url).port
            with pytest.raises(OSError, match="in use"):
                FakeServer(port=port).start()
        with FakeServer(port=port) as server:
            assert server.base_url == f"http://127.0.0.1:{port}/v1"

    @pytest.mark.parametrize(
        "reply",
        [
            WORDS.hang(),
            WORDS.stall(after=1),
            WORDS.comments(),
            Reply((Pause(60),)),
            Reply.raw(bytes(2**25)),
        ],
        ids=["hang", "stall", "flood", "pause", "full socket"],
    )
    @pytest.mark.parametrize("secure", [False, True])
    def test_close_ends_every_answer(self, tls, reply, secure):
        server_context, client_context = tls if secure else (None, None)
        with (
            FakeServer(reply, ssl_context=server_context) as server,
            asked(server, client_context),
        ):
            received = server.wait_for_request()
            assert not received.finished.wait(0.01)
            began = time.monotonic()
            server.close()
            assert time.monotonic() - began < 2
        assert received.finished.is_set()
        assert not received.closed.is_set()

    def test_close_ends_idle_connections(self, tls):
        with FakeServer(ssl_context=tls[0]) as server, connect(server):
            eventually(lambda: server.connections == 1)

    def test_waiting_for_a_request(self):
        with FakeServer(WORDS) as server:
            with pytest.raises(TimeoutError, match=r"request 1 did not .* 0.01 s: 0 came so far"):
                server.wait_for_request(timeout=0.01)
            with pytest.raises(ValueError, match="counted from 1, got 0"):
                server.wait_for_request(0)
            late = threading.Timer(0.01, post, [server])
            late.start()
            first = server.wait_for_request(1)
            post(server)
            assert server.wait_for_request(2) is server.requests[1]
            assert server.requests[0] is first
            assert first.finished.wait(LIMIT)
            late.join()

    def test_a_bug_is_still_told(self, capfd):
        with FakeServer() as server:
            listener = server._listener
            assert isinstance(listener, Listener)
            try:
                math.sqrt(-1)
            except ValueError:
                listener.handle_error(None, ("127.0.0.1", 1))
        assert "math domain error" in capfd.readouterr().err
