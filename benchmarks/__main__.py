"""
Run the benchmarks and show their tables.

    python -m benchmarks                      # all: an hour or so
    python -m benchmarks --quick              # minutes; the ratios still mean something
    python -m benchmarks per_chunk growth --json
    python -m benchmarks --save NAME          # and keep the figures in benchmarks/results
    python -m benchmarks --guard              # exit with 1 where a ratio has gone bad

From the top of a checkout, with the dependencies of llm_kit installed and as many of the peers as
shall take part. The ratios travel to other machines, the times do not.
"""

from __future__ import annotations

import argparse
import json
import sys
from datetime import date
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import guard
from benchmarks.figures import Figure, as_lines, as_rows
from benchmarks.machine import machine, versions

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if "\ndef measure(" in path.read_text())


def main() -> int:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.split("\n")[1])
    parser.add_argument("names", nargs="*", metavar="name", help=f"which: {', '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="few rounds, few peers")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--save", metavar="NAME", help="write results/DATE-NAME.json and .md")
    parser.add_argument("--guard", action="store_true", help="check the ratios that are promised")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(NAMES)}")
    if options.guard:
        return guard.check()
    run = {"date": date.today().isoformat(), "quick": options.quick, "machine": machine()}
    run["versions"] = versions()
    run["figures"] = {}
    tables: dict[str, list[Figure]] = {}
    for name in options.names or NAMES:
        module = import_module(f"benchmarks.{name}")
        print(f"{name} ...", file=sys.stderr, flush=True)
        tables[name] = list(module.measure(options.quick))
        if not options.json:
            print(title(name), "", *as_lines(tables[name]), "", sep="\n", flush=True)
        run["figures"][name] = as_rows(tables[name])
        if options.save:  # each time: what is there is kept, should a later one fail
            save(options.save, run, tables)
    if options.json:
        print(json.dumps(run, indent=2))
    return 0


def title(name: str) -> str:
    return import_module(f"benchmarks.{name}").__doc__.strip().split("\n")[0]


def save(name: str, run: dict[str, Any], tables: dict[str, list[Figure]]) -> None:
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    path = folder / f"{run['date']}-{name}"
    path.with_name(f"{path.name}.json").write_text(json.dumps(run, indent=2) + "\n")
    lines = [f"# {name}, {run['date']}", ""]
    if run["quick"]:
        lines += ["A quick run: few rounds, few peers.", ""]
    lines += [", ".join(f"{what}: {value}" for what, value in run["machine"].items()) + ".", ""]
    lines += [", ".join(f"{what} {value}" for what, value in run["versions"].items()) + "."]
    for each, figures in tables.items():
        lines += ["", f"## {each}", "", title(each), "", *as_lines(figures, markdown=True)]
    path.with_name(f"{path.name}.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
