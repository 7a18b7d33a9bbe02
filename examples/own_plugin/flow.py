"""A flow that uses a plugin of its own: see ``flowconf.py`` and ``owners.py`` beside it.

With ``-P stock=0`` the second task fails, and the report says whom to ask.
"""

from flowkit import fail, task


@task(owner="ana")
def stocked(stock: int = 3) -> int:
    """How many pieces there are."""
    return stock


@task(owner="ben")
def sold(stocked: int) -> int:
    """Sell one."""
    if not stocked:
        fail("nothing left to sell")
    return stocked - 1


@task(owner="ana")
def duty_note(phone_book: dict[str, str]) -> str:
    """Uses the plugin's resource."""
    return f"On duty: ana, {phone_book['ana']}"
