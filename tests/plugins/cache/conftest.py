"""The fixture ``flow`` of the tests of reuse."""

import pytest
from reuse_flows import Session


@pytest.fixture
def flow(project):
    """A project to write flows into, run them, edit them and run them again."""
    return Session(project)
