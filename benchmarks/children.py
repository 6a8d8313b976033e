"""Processes of our own: a module of this folder that lives no longer than who started it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

TOP = Path(__file__).parents[1]


@contextmanager
def child(
    module: str,
    *arguments: str,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """
    Run ``benchmarks.<module>`` with pipes; it has to end when its standard input does.

    Args:
        module: its name.
        *arguments: its command line.
        python: the interpreter, for a peer that has an environment of its own.
        environment: variables on top of our own.
    """
    with subprocess.Popen(
        [python, "-m", f"benchmarks.{module}", *arguments],
        cwd=TOP,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        try:
            yield process
        finally:
            with suppress(BrokenPipeError):  # it has failed, and said why
                process.stdin.close()


def pin(*, server: bool) -> None:
    """Keep a server on the last core and everybody else off it, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        return
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, cores[-1:] if server else cores[:-1])
