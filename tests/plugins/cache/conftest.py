"""The fixture ``flow`` of the tests of reuse; and each test leaves the modules as they were."""

import os
import sys
import tempfile

import pytest
from reuse_flows import Session


@pytest.fixture
def flow(project):
    """A project to write flows into, run them, edit them and run them again."""
    return Session(project)


@pytest.fixture(autouse=True)
def no_modules_left():
    """Forget what a test imported from its own folder: another test's ``helpers`` is another module."""
    before = set(sys.modules)
    yield
    folder = tempfile.gettempdir() + os.sep
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(folder):
            del sys.modules[name]
