"""
What an import costs: CPU and wall milliseconds, modules loaded, MiB of memory.

    python -m benchmarks imports

Each is the difference between before and after one import statement in a fresh interpreter
that has imported nothing else: the statement with which each library's guide begins, so that
what is only put off until its client is asked for counts too. "llm_kit alone" is the bare package,
which brings the rest when a name of it is asked for: no program stops there. All of it comes
compiled: bytecode is kept in a folder of this run's, which the first round, that does not count,
has filled. The reference is httpx, which llm_kit stands on. Memory is what is resident, where
/proc tells it.

What httpx costs depends on what stands beside it: where the libraries of its command line
(click, rich, pygments) are installed it imports them, and twice as much is measured. A ratio is
the same only in an environment with the same libraries: llm_kit's is highest in one without.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures import Figure, compared

REFERENCE = "httpx"
CONTENDERS = {
    REFERENCE: "import httpx",
    "llm_kit": "from llm_kit import LLMClient, StreamInterrupter",
    "llm_kit alone": "import llm_kit",
    "openai": "from openai import OpenAI",
    "anthropic": "from anthropic import Anthropic",
    "langchain_openai": "from langchain_openai import ChatOpenAI",
    "litellm": "from litellm import completion",
    "pydantic_ai": "from pydantic_ai import Agent",
    "any_llm": "from any_llm import completion",
}
QUICK = (REFERENCE, "llm_kit", "llm_kit alone", "openai")  # for a run in CI
ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else its import asks the network
    "PYTHONDONTWRITEBYTECODE": "",
}
UNITS = {"CPU": "ms of CPU", "wall": "ms", "modules": "modules", "memory": "MiB"}
PROBE = """
import sys, time

def resident():
    try:
        with open("/proc/self/statm", "rb") as pages:
            return int(pages.read().split()[1]) * 4096 / 2**20
    except OSError:
        return 0.0

def now():
    return time.process_time() * 1e3, time.perf_counter() * 1e3, len(sys.modules), resident()

statement = compile(sys.argv[1], "<import>", "exec")
before = now()
exec(statement)
print(*(after - begun for after, begun in zip(now(), before)))
"""


def importing(statement: str, bytecode: str) -> dict[str, float]:
    """
    Run a statement in a new process and give what it took, by the names in `UNITS`.

    Args:
        statement: one that imports.
        bytecode: the folder of what is compiled.
    """
    told = subprocess.run(
        [sys.executable, "-c", PROBE, statement],
        env={**os.environ, **ENVIRONMENT, "PYTHONPYCACHEPREFIX": bytecode},
        cwd=Path(__file__).parents[1],  # runs in a checkout as it is
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    return dict(zip(UNITS, map(float, told.splitlines()[-1].split()), strict=True))


def package_of(contender: str) -> str:
    """Give the package that a contender's statement imports."""
    return CONTENDERS[contender].split()[1]


def measure(quick: bool) -> Iterator[Figure]:
    """Import each contender in turn, round by round."""
    names = QUICK if quick else tuple(CONTENDERS)
    contenders = {name: CONTENDERS[name] for name in names if find_spec(package_of(name))}
    for name in set(names).difference(contenders):
        print(f"{name} is not installed: left out", file=sys.stderr)
    rounds: dict[str, dict[tuple[str, str], list[float]]] = {}
    with TemporaryDirectory() as bytecode:
        for turn in range(1 + (7 if quick else 15)):
            for name, statement in contenders.items():
                for case, cost in importing(statement, bytecode).items():
                    if turn and cost:
                        rounds.setdefault(case, {}).setdefault((case, name), []).append(cost)
    for case, costs in rounds.items():
        yield from compared(costs, UNITS[case], lambda _: REFERENCE)
