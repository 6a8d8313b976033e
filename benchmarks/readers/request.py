"""What every reader asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Show = Callable[[str], object]

MESSAGES = [{"role": "user", "content": "Hello"}]
BODY: dict[str, Any] = {"model": "m", "messages": MESSAGES, "stream": True}
