"""Tasks as fixtures: a test asks for one by name, and pytest overrides what it hangs off."""

import pytest

from flowkit.testing import flow, properties

pytestmark = HELLO = flow("hello.py")

test_reuse = properties.cache_transparent(HELLO)
test_two_names_never_share_a_greeting = properties.key_injective(HELLO)


def test_the_banner_is_as_long_as_the_greeting(banner):
    assert banner == "Hello, world!\n-------------"


@pytest.mark.parametrize("name", ["Ada"])
def test_a_parameter_is_overridden(greeting):
    assert greeting == "Hello, Ada!"


@pytest.mark.parametrize("greeting", ["Hi"])
def test_so_is_a_task(banner):
    assert banner == "Hi\n--"
