"""
A real, scripted server to test streaming code against.

    >>> import httpx
    >>> from llm_kit.testing import FakeServer, Reply
    >>> with FakeServer(Reply.text("Hello, world!", pace=0.01)) as server:
    ...     answer = httpx.post(server.base_url + "/chat/completions", json={"stream": True})
    >>> answer.text.splitlines()[-2]
    'data: [DONE]'
"""

from llm_kit.testing.contract import check_dialect
from llm_kit.testing.received import Received
from llm_kit.testing.script import Reply
from llm_kit.testing.server import FakeServer
from llm_kit.testing.steps import Comments, Cut, Pause, Reset, Stall, Step

__all__ = [
    "Comments",
    "Cut",
    "FakeServer",
    "Pause",
    "Received",
    "Reply",
    "Reset",
    "Stall",
    "Step",
    "check_dialect",
]
