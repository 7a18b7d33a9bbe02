"""The scheduler as a fixture."""

import pytest
from graphs import Conversation


@pytest.fixture
def scheduler():
    """Make conversations with a scheduler; whatever was said, its books balanced after every word."""
    return Conversation
