"""
How much of each module is covered by the test file that is named after it.

Reads the coverage data of a run with --cov-context=test. A module that only other tests
reach is tested by accident: it fails below the gate.
"""

import contextlib
import io
import pathlib
import re
import sys

import coverage

GATE = 95.0
ROOT = pathlib.Path(__file__).parents[1]


def own_test(module: pathlib.Path) -> pathlib.Path:
    """Find a module's test in the mirrored tree; a part of a room is tested with its room."""
    relative = module.relative_to(ROOT / "llm_kit")
    folder = ROOT / "tests" / "/".join(part.lstrip("_") for part in relative.parent.parts)
    test = folder / f"test_{relative.name}"
    return test if test.exists() else folder


def main() -> int:
    """Print a table, and say whether every module passes."""
    data = coverage.Coverage(config_file=str(ROOT / "pyproject.toml"))
    data.load()
    failed = False
    for module in sorted((ROOT / "llm_kit").rglob("*.py")):
        name = str(module.relative_to(ROOT))
        if module.name == "__init__.py":  # re-exports
            continue
        test = own_test(module)
        # What runs while modules are imported belongs to no test: the empty context.
        contexts = ["^$", "^" + re.escape(str(test.relative_to(ROOT)))]
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                percent = data.report(include=[str(module)], contexts=contexts)
        except coverage.exceptions.NoDataError:
            percent = 0.0
        short = percent < GATE
        failed |= short
        mark = "  <-- short" if short else ""
        print(f"{percent:6.1f} %  {name:42} {test.relative_to(ROOT)}{mark}")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
