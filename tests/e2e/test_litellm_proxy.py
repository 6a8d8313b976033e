"""A real server that nobody here wrote: the LiteLLM proxy, on loopback, with mocked models."""

import os
import socket
import subprocess
import time

import httpx
import pytest

from llm_kit import APIStatusError, StreamInterrupter, StreamTruncatedError
from llm_kit.testing import FakeServer, Reply

KEY = "sk-loopback-e2e-0000"
CONFIG = """
model_list:
  - model_name: mock
    litellm_params: {{model: openai/mock, api_key: sk-none, mock_response: "{text}"}}
  - model_name: limited
    litellm_params: {{model: openai/limited, api_key: sk-none,
                     mock_response: litellm.RateLimitError}}
  - model_name: slow
    litellm_params: {{model: openai/slow, api_key: sk-none, api_base: "{upstream}"}}
router_settings: {{num_retries: 0, disable_cooldowns: true}}
general_settings: {{master_key: {key}, cancel_on_disconnect: true}}
"""
TEXT = "Hello from the mock model."
STARTING = 90  # seconds that the proxy may take to come up on a loaded machine

pytestmark = pytest.mark.timeout(150)


@pytest.fixture(scope="module")
def upstream():
    """A model that says two words and then nothing more."""
    with FakeServer(Reply.text("one two three four").stall(after=3)) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(pytestconfig, upstream, tmp_path_factory):
    """The proxy's base_url."""
    program = pytestconfig.getoption("--litellm")
    if not program:
        pytest.skip("needs --litellm EXE, the program of a LiteLLM proxy")
    folder = tmp_path_factory.mktemp("litellm")
    config = folder / "config.yaml"
    config.write_text(CONFIG.format(text=TEXT, upstream=upstream.base_url, key=KEY), "utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "--config", config, "--host", "127.0.0.1", "--port", str(port)],
            stdout=log,
            stderr=log,
            env=environment,
        )
        try:
            _wait_until_alive(process, f"http://127.0.0.1:{port}/health/liveliness", folder / "log")
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)


def _wait_until_alive(process, url, log):
    end = time.monotonic() + STARTING
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(url, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)  # there is no event to wait for: another process is starting
    pytest.fail("the proxy did not start:\n" + log.read_text("utf-8", "replace")[-3000:])


def test_streams_with_usage(colour, proxy):
    stream = colour.stream(proxy, client=colour.client(proxy, api_key=KEY, model="mock"))
    chunks = colour.read(stream)
    assert "".join(chunk.delta for chunk in chunks) == TEXT
    assert len(chunks) > 5
    assert stream.result.status == "complete"
    assert stream.result.usage.completion_tokens > 0


def test_two_choices(colour, proxy):
    """LiteLLM 1.106 drops the finish_reason of the second choice: that is no whole answer."""
    client = colour.client(proxy, api_key=KEY, model="mock")
    error, _ = colour.fail(colour.stream(proxy, client=client, n=2), StreamTruncatedError)
    assert [choice.content for choice in error.partial.choices] == [TEXT, TEXT]
    assert [choice.finish_reason for choice in error.partial.choices] == ["stop", None]


@pytest.mark.parametrize(
    ("model", "status", "words"),
    [("limited", 429, "rate limit"), ("no-such-model", 400, "Invalid model name")],
)
def test_errors(colour, proxy, model, status, words):
    client = colour.client(proxy, api_key=KEY, model=model)
    error, chunks = colour.fail(colour.stream(proxy, client=client), APIStatusError)
    assert error.status_code == status
    assert words in str(error)
    assert chunks == []


def test_cancel_reaches_the_model_behind(colour, proxy, upstream):
    before = len([request for request in upstream.requests if request.method == "POST"])
    interrupter = StreamInterrupter()
    client = colour.client(proxy, api_key=KEY, model="slow")
    for chunk in colour.each(interrupter.wrap(colour.stream(proxy, client=client))):
        if chunk.delta.strip() == "two":
            interrupter.interrupt("enough")
    assert interrupter.content.split() == ["one", "two"]
    assert interrupter.result.status == "interrupted"
    asked = [request for request in upstream.requests if request.method == "POST"][before]
    assert asked.closed.wait(10), "the model went on for a reader who had left"
