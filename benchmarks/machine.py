"""Where a run was made and with what: nothing that names a host, a user or a path."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import llm_kit
from benchmarks.contenders import CONTENDERS, interpreter, version

UNDERNEATH = ("httpx", "httpcore", "h11", "httpx2", "aiohttp", "httpx-aiohttp", "msgspec")


def machine() -> dict[str, str]:
    """Give the processor, its cores, the system and the Python."""
    return {
        "CPU": cpu_model(),
        "cores": str(os.cpu_count()),
        "OS": operating_system(),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def operating_system() -> str:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return f"{platform.system()} {platform.release()}"
    return f"{platform.system()}, {name}, {platform.machine()}"


def versions() -> dict[str, str]:
    """Give the versions of all that is there to take part, each from where it runs."""
    found = {"llm_kit": llm_kit.__version__}
    found |= {name: version(name) for name in UNDERNEATH}
    for name, contender in CONTENDERS.items():
        python = interpreter(name)
        for needed in contender.needs:
            apart = python != sys.executable and needed != name
            found[f"{needed} under {name}" if apart else needed] = version(needed, python)
    return {name: number for name, number in found.items() if number}
