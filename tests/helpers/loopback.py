"""Peers on the loopback that a FakeServer can't be: proxies, deaf servers, HTTP/2."""

import asyncio
import contextlib
import json
import pathlib
import socket
import ssl
import tempfile
import threading
import time

import hypercorn.asyncio
import hypercorn.config
import trustme

PATIENCE = 5.0
"""Seconds. Every wait of these tests is for an event and bounded by this; none is a sleep."""


def wait_until(condition, timeout=PATIENCE):
    """Poll for what has no event of its own; gives whether it came true."""
    until = time.monotonic() + timeout
    while not (met := condition()) and time.monotonic() < until:
        time.sleep(0.002)
    return bool(met)


class TLS:
    """A certificate of 127.0.0.1, and contexts for both ends of a connection."""

    def __init__(self):
        self._authority = trustme.CA()
        self.certificate = self._authority.issue_cert("127.0.0.1")

    def server(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate.configure_cert(context)
        return context

    def client(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._authority.configure_trust(context)
        return context


class Reader(threading.Thread):
    """Reads a stream of either colour in a thread of its own, and tells how far it is."""

    def __init__(self, colour, stream):
        super().__init__(daemon=True)
        self._colour, self._stream = colour, stream
        self._progress = threading.Condition()
        self.chunks = []
        self.error = None
        self.freed_at = None
        self.start()

    def run(self):
        try:
            for chunk in self._colour.each(self._stream):
                with self._progress:
                    self.chunks.append(chunk)
                    self._progress.notify_all()
        except BaseException as error:  # noqa: BLE001  whatever comes out is what tests look at
            self.error = error
        self.freed_at = time.monotonic()
        # A loop that goes on, as a program's does: asyncio closes sockets in its next turn.
        self._colour.run(asyncio.sleep(0.01) if self._colour.is_async else None)

    @property
    def text(self):
        return "".join(chunk.delta for chunk in self.chunks)

    def wait_for_chunks(self, count):
        with self._progress:
            came = self._progress.wait_for(lambda: len(self.chunks) >= count, PATIENCE)
        assert came, f"{len(self.chunks)} of {count} chunks came; error: {self.error!r}"

    def wait(self):
        """Wait for the end of the loop, which must come."""
        self.join(PATIENCE)
        assert not self.is_alive(), "the reader is still blocked"
        return self


class Loopback:
    """A listening socket whose connections are each served by a method in a thread."""

    scheme = "http"

    def __init__(self, listener=None):
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self._peers = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self.port = None if listener else self._listener.getsockname()[1]
        self._threads[0].start()

    @property
    def url(self):
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def base_url(self):
        return self.url + "/v1"

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._peers.append(peer)
                self._threads.append(threading.Thread(target=self._run, args=(peer,), daemon=True))
                self._threads[-1].start()

    def _run(self, peer):
        with contextlib.suppress(OSError), peer:
            self.serve(peer)

    def serve(self, peer):
        raise NotImplementedError

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        for sock in (self._listener, *self._peers):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)
        for sock in (self._listener, *self._peers):
            sock.close()


def read_head(peer):
    """Read up to the blank line; gives the head and what came behind it."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(65536)
        if not piece:
            raise ConnectionAbortedError
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


class Proxy(Loopback):
    """
    An HTTP proxy: CONNECT tunnels, and plain requests with an absolute URL.

    Args:
        connects: False never answers a CONNECT.
        context: speaks TLS itself.
    """

    def __init__(self, connects=True, context=None):
        self._connects = connects
        self._context = context
        self.scheme = "https" if context else "http"
        self.asked = threading.Event()
        self.closed = threading.Event()
        super().__init__()

    def serve(self, peer):
        if self._context is not None:
            peer = self._context.wrap_socket(peer, server_side=True)
            self._peers.append(peer)
        head, rest = read_head(peer)
        method, target, _ = head.split(b"\r\n")[0].split(b" ")
        self.asked.set()
        if method == b"CONNECT":
            if not self._connects:
                peer.recv(1)  # gives nothing: the client has left
                self.closed.set()
                return
            host, _, port = target.partition(b":")
        else:
            host, _, port = target.split(b"/")[2].partition(b":")
        with socket.create_connection((host, int(port)), PATIENCE) as upstream:
            upstream.settimeout(None)
            if method == b"CONNECT":
                peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                upstream.sendall(head + b"\r\n\r\n" + rest)
            back = threading.Thread(target=self._pump, args=(upstream, peer), daemon=True)
            back.start()
            self._pump(peer, upstream)
            back.join(PATIENCE)

    @staticmethod
    def _pump(source, sink):
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


class DeafServer(Loopback):
    """Accepts (and shakes hands), reads the request's head and not a byte of its body."""

    def __init__(self, context=None):
        self._context = context
        self.scheme = "https" if context else "http"
        self.asked = threading.Event()
        self.listen = threading.Event()
        self.closed = threading.Event()
        super().__init__()

    def serve(self, peer):
        if self._context is not None:
            peer = self._context.wrap_socket(peer, server_side=True)
            self._peers.append(peer)
        read_head(peer)
        self.asked.set()
        self.listen.wait(PATIENCE)
        with contextlib.suppress(OSError):
            while peer.recv(1 << 20):
                pass
        self.closed.set()


class ScriptedSocket(Loopback):
    """Reads a request and writes these bytes, for each request of a connection in turn."""

    def __init__(self, *answers, listener=None):
        self._answers = answers
        self.asked = threading.Event()
        self.closed = threading.Event()
        super().__init__(listener)

    def serve(self, peer):
        try:
            for answer in self._answers:
                head, rest = read_head(peer)
                length = next(
                    int(line.split(b":")[1])
                    for line in head.lower().split(b"\r\n")
                    if line.startswith(b"content-length:")
                )
                while len(rest) < length:
                    rest += peer.recv(65536)
                peer.sendall(answer)
            self.asked.set()
            peer.recv(1)
        finally:
            self.closed.set()


@contextlib.contextmanager
def full_backlog():
    """Give the base_url of a listener on which every connect blocks: its queue is full."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}/v1"


class H2Server:
    """
    An ASGI app that streams words over HTTP/2 and TLS, under hypercorn in a thread.

    A request's ``model`` says what it gets: "at once:N" N words and the end, "words:N" the same
    with a word more for each ``step``, "stall" two words and silence, "hang" no headers.
    """

    def __init__(self, certificate):
        self.base_url = None
        self.started = threading.Semaphore(0)
        self.connections = set()
        self._certificate = certificate
        self._up = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._up.wait(PATIENCE), "hypercorn did not start"
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exc_info):
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), "hypercorn did not end"

    def step(self):
        self._loop.call_soon_threadsafe(self._step)

    def _end(self):
        self._ending.set()
        self._step()

    def _step(self):
        # Each waiter has an event of its own turn: setting this one starts the next turn.
        turn, self._turn = self._turn, asyncio.Event()
        turn.set()

    def _run(self):
        try:
            with tempfile.TemporaryDirectory() as folder:  # ssl reads certificates from files only
                self._pem = pathlib.Path(folder, "server.pem")
                self._pem.write_bytes(certificate_pem(self._certificate))
                asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001  told to the thread that waits
            self._failure = error
            self._up.set()

    async def _serve(self):
        self._loop = asyncio.get_running_loop()
        self._ending, self._turn = asyncio.Event(), asyncio.Event()
        config = hypercorn.config.Config()
        listener = socket.create_server(("127.0.0.1", 0))
        self.base_url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        config.certfile = config.keyfile = str(self._pem)
        config.bind = [f"fd://{listener.detach()}"]
        config.alpn_protocols = ["h2"]
        config.errorlog = config.accesslog = None
        # Ends as soon as its clients have: close them first. Cancelled it leaves warnings behind.
        config.graceful_timeout = config.shutdown_timeout = 3.0
        serving = asyncio.create_task(
            hypercorn.asyncio.serve(
                self._app, config, shutdown_trigger=self._ending.wait, mode="asgi"
            )
        )
        self._loop.call_soon(self._up.set)
        await asyncio.wait({serving, asyncio.create_task(self._ending.wait())}, timeout=60)
        await asyncio.wait({serving}, timeout=4.0)

    async def _app(self, scope, receive, send):
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": kind + ".complete"})
                if kind == "lifespan.shutdown":
                    return
        self.connections.add(scope["client"])
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        kind, _, count = json.loads(body)["model"].partition(":")
        self.started.release()
        if kind == "hang":
            await self._ending.wait()
            return
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for word in range(int(count or 2)):
            delta = {"choices": [{"index": 0, "delta": {"content": f"{word} "}}]}
            await self._send(send, delta)
            if kind == "words":
                await self._turn.wait()
            if self._ending.is_set():
                return
        if kind == "stall":
            await self._ending.wait()
            return
        await self._send(send, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    async def _send(self, send, event):
        frame = b"data: " + json.dumps(event).encode() + b"\n\n"
        await send({"type": "http.response.body", "body": frame, "more_body": True})


def certificate_pem(certificate):
    chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
    return certificate.private_key_pem.bytes() + chain
