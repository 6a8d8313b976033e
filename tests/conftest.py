"""One test body for both colours, and the options that name other people's recorded data."""

import asyncio
import inspect
import json
import pathlib

import pytest
from loopback import TLS

from llm_kit import AsyncLLMClient, LLMClient, RetryPolicy, json_texts, wire
from llm_kit.testing import FakeServer

MESSAGES = [{"role": "user", "content": "Hello"}]


def pytest_addoption(parser):
    parser.addoption("--streams", metavar="DIR", help="a folder of recorded streams to read")
    parser.addoption("--sse-cases", metavar="FILE", help="a file of SSE cases to decode")
    parser.addoption("--litellm", metavar="EXE", help="a LiteLLM proxy's program to talk to")
    parser.addoption(
        "--json",
        choices=["standard", "installed"],
        default="installed",
        help="decode with the standard library, or with msgspec where it is installed",
    )
    parser.addoption("--slow", action="store_true", help="run the long fuzz and soak tests too")


def pytest_configure(config):
    if config.getoption("--json") == "standard":  # before a test file imports it by name
        json_texts.decoded = wire.decoded = json_texts.decoded_by_json


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        skip = pytest.mark.skip(reason="long: give --slow to run it")
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(skip)


@pytest.fixture(scope="session")
def sse_cases(pytestconfig):
    """The cases of a file that is not part of this project."""
    path = pytestconfig.getoption("--sse-cases")
    if not path:
        pytest.skip("needs --sse-cases FILE, data that is not part of this project")
    return json.loads(pathlib.Path(path).read_text("utf-8"))["cases"]


@pytest.fixture(scope="session")
def tls():
    """A certificate authority of the tests' own, and the contexts that know it."""
    return TLS()


@pytest.fixture(scope="session")
def streams_dir(pytestconfig):
    """A folder of recorded streams that is not part of this project."""
    path = pytestconfig.getoption("--streams")
    if not path:
        pytest.skip("needs --streams DIR, data that is not part of this project")
    return pathlib.Path(path)


class SyncColour:
    """Speaks to sync streams."""

    name = "sync"
    is_async = False
    client_class = LLMClient

    def __init__(self):
        self._clients = []

    def client(self, server, **options):
        """Make a client of this colour for a server (or a base_url); closed after the test."""
        options.setdefault("api_key", "sk-test-key-123")
        options.setdefault("model", "test-model")
        options.setdefault("retry", RetryPolicy(attempts=1))  # a test says itself what it retries
        base_url = server.base_url if isinstance(server, FakeServer) else server
        client = self.client_class(base_url=base_url, **options)
        self._clients.append(client)
        return client

    def stream(self, server, messages=MESSAGES, client=None, **params):
        """Ask a server; gives the stream, unread."""
        return (client or self.client(server)).chat_stream(messages, **params)

    def source(self, items):
        """Make a generator of this colour that gives the items (an exception is raised)."""

        def generate():
            for item in items:
                if isinstance(item, BaseException):
                    raise item
                yield item

        return generate()

    def run(self, value):
        """Give what a call gave; in the other colour it is awaited first."""
        return value

    def each(self, stream):
        """Iterate a stream of this colour with a plain `for`."""
        return iter(stream)

    def close(self, thing):
        """Close a stream or a client."""
        thing.close()

    def breathe(self):
        """Let the loop do what has come to it, where there is one; gives True."""
        return True

    def open(self, stream):
        """Enter a stream as a context manager, without leaving it."""
        return stream.__enter__()

    def wrap_function(self, function):
        """Make a function of this colour of a plain one."""
        return function

    def read(self, stream):
        """Read a stream to its end; gives the chunks."""
        return list(self.each(stream))

    def fail(self, stream, error=Exception):
        """Read a stream that must fail; gives the error and the chunks before it."""
        chunks = []
        with pytest.raises(error) as caught:
            chunks.extend(self.each(stream))  # extend keeps what came before the error
        return caught.value, chunks

    def finish(self):
        for client in self._clients:
            self.close(client)


class AsyncColour(SyncColour):
    """Speaks to async streams, in one event loop a test."""

    name = "async"
    is_async = True
    client_class = AsyncLLMClient

    def __init__(self):
        super().__init__()
        self.runner = asyncio.Runner()

    def source(self, items):
        async def generate():
            for item in items:
                if isinstance(item, BaseException):
                    raise item
                yield item

        return generate()

    def run(self, value):
        async def result():
            return await value

        return self.runner.run(result()) if inspect.isawaitable(value) else value

    def each(self, stream):
        chunks = aiter(stream)

        async def following():
            return await anext(chunks)

        while True:
            try:
                chunk = self.runner.run(following())
            except StopAsyncIteration:
                return
            yield chunk

    def breathe(self):
        self.runner.run(asyncio.sleep(0))
        return True

    def close(self, thing):
        self.run(thing.aclose())

    def open(self, stream):
        return self.run(stream.__aenter__())

    def wrap_function(self, function):
        async def wrapped(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapped

    def finish(self):
        super().finish()
        self.runner.close()


COLOURS = {"sync": SyncColour, "async": AsyncColour}


@pytest.fixture(params=COLOURS)
def colour(request):
    """The colour of the test: everything that is asked of it reads the same for both."""
    made = COLOURS[request.param]()
    yield made
    made.finish()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch):
    """No test depends on, or sends anything to, what a developer's shell has configured."""
    for name in ("LLM_KIT_BASE_URL", "LLM_KIT_API_KEY", "LLM_KIT_MODEL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
