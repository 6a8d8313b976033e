"""
The real SDKs, each asking a server of ours for its real stream object.

    with PEERS["anthropic"]() as peer:
        stream = peer.open(colour, server.base_url)

A peer asks once, without retries, telemetry or anything out of the environment, and closes its
clients at its end. Nothing is imported before a peer is opened, so that a test can be skipped
where an SDK is not installed.
"""

import asyncio
import contextlib
import importlib.util
import os

PROMPT = "Hello"
MESSAGES = [{"role": "user", "content": PROMPT}]
KEY = "sk-test-key-123"
MODEL = "test-model"


def root(base_url):
    """A server's address without `/v1`, for clients that bring their own path."""
    return base_url.removesuffix("/v1")


class Peer:
    """
    One way to get a stream from an SDK.

    Attributes:
        name: how tests call it.
        package: what must be installed.
        dialect: ours for the same bytes.
    """

    name: str
    package: str
    dialect: str

    def __init__(self):
        self._closing = contextlib.ExitStack()
        self._aclosing = []

    @classmethod
    def missing(cls):
        """Why this peer can't be asked here, or None."""
        try:
            found = importlib.util.find_spec(cls.package)
        except ModuleNotFoundError:  # of a parent package
            found = None
        return None if found else f"{cls.package} is not installed"

    def stream(self, base_url):
        """Ask with the sync client; gives the SDK's own stream, unread."""
        raise NotImplementedError

    async def astream(self, base_url):
        """Ask with the async client; gives the SDK's own stream, unread."""
        raise NotImplementedError

    def open(self, colour, base_url):
        """Ask in the colour of the test (the fixture `colour`); a peer is opened once."""
        if colour.is_async:
            self._closing.callback(lambda: colour.run(self.aclose()))
            return colour.run(self.astream(base_url))
        return self.stream(base_url)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._closing.close()

    async def aclose(self):
        """Close what async clients hold; `open` arranges for it."""
        while self._aclosing:
            await self._aclosing.pop()()

    def _closed(self, client):
        """A sync client, closed at the end."""
        self._closing.callback(client.close)
        return client

    def _aclosed(self, client):
        """An async client, closed at the end."""
        self._aclosing.append(client.close)
        return client


class OpenAI(Peer):
    name, package, dialect = "openai", "openai", "openai"

    def _client(self, base_url):
        import openai

        return self._closed(openai.OpenAI(base_url=base_url, api_key=KEY, max_retries=0))

    def _aclient(self, base_url):
        import openai

        return self._aclosed(openai.AsyncOpenAI(base_url=base_url, api_key=KEY, max_retries=0))

    def stream(self, base_url):
        ask = self._client(base_url).chat.completions.create
        return ask(model=MODEL, messages=MESSAGES, stream=True)

    async def astream(self, base_url):
        ask = self._aclient(base_url).chat.completions.create
        return await ask(model=MODEL, messages=MESSAGES, stream=True)


class OpenAIHelper(OpenAI):
    """The helper, whose events are derived from the chunks."""

    name = "openai-helper"

    def stream(self, base_url):
        manager = self._client(base_url).chat.completions.stream(model=MODEL, messages=MESSAGES)
        return manager.__enter__()

    async def astream(self, base_url):
        manager = self._aclient(base_url).chat.completions.stream(model=MODEL, messages=MESSAGES)
        return await manager.__aenter__()


class Responses(OpenAI):
    name, dialect = "openai-responses", "responses"

    def stream(self, base_url):
        ask = self._client(base_url).responses.create
        return ask(model=MODEL, input=PROMPT, stream=True)

    async def astream(self, base_url):
        ask = self._aclient(base_url).responses.create
        return await ask(model=MODEL, input=PROMPT, stream=True)


class ResponsesHelper(Responses):
    """The helper, whose events are the API's with more in them."""

    name = "openai-responses-helper"

    def stream(self, base_url):
        return self._client(base_url).responses.stream(model=MODEL, input=PROMPT).__enter__()

    async def astream(self, base_url):
        manager = self._aclient(base_url).responses.stream(model=MODEL, input=PROMPT)
        return await manager.__aenter__()


class Completions(OpenAI):
    name, dialect = "openai-completions", "completions"

    def stream(self, base_url):
        return self._client(base_url).completions.create(model=MODEL, prompt=PROMPT, stream=True)

    async def astream(self, base_url):
        ask = self._aclient(base_url).completions.create
        return await ask(model=MODEL, prompt=PROMPT, stream=True)


class Anthropic(Peer):
    name, package, dialect = "anthropic", "anthropic", "anthropic"
    request = {"model": MODEL, "messages": MESSAGES, "max_tokens": 1000}  # noqa: RUF012

    def _client(self, base_url):
        import anthropic

        url = root(base_url)
        return self._closed(anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0))

    def _aclient(self, base_url):
        import anthropic

        url = root(base_url)
        return self._aclosed(anthropic.AsyncAnthropic(base_url=url, api_key=KEY, max_retries=0))

    def stream(self, base_url):
        return self._client(base_url).messages.create(stream=True, **self.request)

    async def astream(self, base_url):
        return await self._aclient(base_url).messages.create(stream=True, **self.request)


class AnthropicHelper(Anthropic):
    """The helper, which puts events of its own between the API's."""

    name = "anthropic-helper"

    def stream(self, base_url):
        return self._client(base_url).messages.stream(**self.request).__enter__()

    async def astream(self, base_url):
        return await self._aclient(base_url).messages.stream(**self.request).__aenter__()


class Gemini(Peer):
    name, package, dialect = "google-genai", "google.genai", "gemini"

    def _client(self, base_url):
        from google import genai

        options = {"base_url": root(base_url), "retry_options": {"attempts": 1}}
        return genai.Client(api_key=KEY, vertexai=False, http_options=options)

    def stream(self, base_url):
        client = self._closed(self._client(base_url))
        return client.models.generate_content_stream(model=MODEL, contents=PROMPT)

    async def astream(self, base_url):
        client = self._closed(self._client(base_url))
        self._aclosing.append(client.aio.aclose)
        return await client.aio.models.generate_content_stream(model=MODEL, contents=PROMPT)


class Ollama(Peer):
    name, package, dialect = "ollama", "ollama", "ollama"

    def stream(self, base_url):
        import ollama

        client = self._closed(ollama.Client(root(base_url)))
        return client.chat(MODEL, MESSAGES, stream=True)

    async def astream(self, base_url):
        import ollama

        client = self._aclosed(ollama.AsyncClient(root(base_url)))
        return await client.chat(MODEL, MESSAGES, stream=True)


class Mistral(Peer):
    name, package, dialect = "mistralai", "mistralai", "openai"

    def _client(self, base_url):
        try:
            from mistralai.client import Mistral as Client
        except ImportError:  # version 1
            from mistralai import Mistral as Client

        return Client(api_key=KEY, server_url=root(base_url))

    def stream(self, base_url):
        client = self._closing.enter_context(self._client(base_url))
        return client.chat.stream(model=MODEL, messages=MESSAGES)

    async def astream(self, base_url):
        client = self._client(base_url)
        self._aclosing.append(lambda: client.__aexit__(None, None, None))
        return await client.chat.stream_async(model=MODEL, messages=MESSAGES)


class Cohere(Peer):
    name, package, dialect = "cohere", "cohere", "cohere"
    options = {"max_retries": 0}  # noqa: RUF012

    def stream(self, base_url):
        import cohere

        client = self._closing.enter_context(cohere.ClientV2(KEY, base_url=root(base_url)))
        return client.chat_stream(model=MODEL, messages=MESSAGES, request_options=self.options)

    async def astream(self, base_url):
        import cohere

        client = cohere.AsyncClientV2(KEY, base_url=root(base_url))
        self._aclosing.append(lambda: client.__aexit__(None, None, None))
        return client.chat_stream(model=MODEL, messages=MESSAGES, request_options=self.options)


class LiteLLM(OpenAI):
    """LiteLLM before a server that speaks as OpenAI does."""

    name, package = "litellm", "litellm"

    @staticmethod
    def _litellm():
        """Import it, without anything that it would do at that."""
        os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # its import would fetch it
        import litellm

        litellm.telemetry = False
        litellm.suppress_debug_info = True  # it prints advice for each error
        return litellm

    def stream(self, base_url):
        ask = self._litellm().completion
        client = self._client(base_url)
        return ask(f"openai/{MODEL}", MESSAGES, stream=True, client=client, api_key=KEY)

    async def astream(self, base_url):
        litellm = self._litellm()
        self._aclosing.append(finish_other_tasks)
        client = self._aclient(base_url)
        return await litellm.acompletion(
            f"openai/{MODEL}", MESSAGES, stream=True, client=client, api_key=KEY
        )


class LangChainOpenAI(OpenAI):
    name, package = "langchain-openai", "langchain_openai"
    settings = {"stream_usage": True}  # noqa: RUF012

    def _model(self, base_url):
        import langchain_openai
        import openai

        return langchain_openai.ChatOpenAI(
            model=MODEL,
            base_url=base_url,
            api_key=KEY,
            max_retries=0,
            # Its own clients are kept for ever.
            http_client=self._closed(openai.DefaultHttpxClient()),
            http_async_client=openai.DefaultAsyncHttpxClient(),
            **self.settings,
        )

    def stream(self, base_url):
        return self._model(base_url).stream(PROMPT)

    async def astream(self, base_url):
        model = self._model(base_url)
        self._aclosing.append(model.http_async_client.aclose)
        return model.astream(PROMPT)


class LangChainResponses(LangChainOpenAI):
    name, dialect = "langchain-openai-responses", "responses"
    settings = {"use_responses_api": True}  # noqa: RUF012


class LangChainAnthropic(Anthropic):
    name, package = "langchain-anthropic", "langchain_anthropic"

    def _model(self, base_url, **clients):
        import langchain_anthropic

        model = langchain_anthropic.ChatAnthropic(
            model=MODEL, base_url=root(base_url), api_key=KEY, max_retries=0, max_tokens=1000
        )
        vars(model).update(clients)  # its own share connections that are kept for ever
        return model

    def stream(self, base_url):
        return self._model(base_url, _client=self._client(base_url)).stream(PROMPT)

    async def astream(self, base_url):
        return self._model(base_url, _async_client=self._aclient(base_url)).astream(PROMPT)


async def finish_other_tasks():
    """End what a library does beside the stream, such as LiteLLM's log of what was asked."""
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
        await asyncio.wait([task])


PEERS = {
    peer.name: peer
    for peer in (
        OpenAI,
        OpenAIHelper,
        Responses,
        ResponsesHelper,
        Completions,
        Anthropic,
        AnthropicHelper,
        Gemini,
        Ollama,
        Mistral,
        Cohere,
        LiteLLM,
        LangChainOpenAI,
        LangChainResponses,
        LangChainAnthropic,
    )
}
