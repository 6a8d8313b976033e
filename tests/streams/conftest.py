"""Lets these tests import the helpers, and gives them certificates."""

import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "helpers"))

from loopback import TLS


@pytest.fixture(scope="session")
def tls():
    return TLS()
