"""Prefect 1's mapping example: a list, one node per element, twice, and a sum.

``-P n=10`` makes it ten, ``-P n=0`` none. ``step`` is an ordinary parameter beside a mapped
argument: it is the same for every element.
"""

from flowkit import Collected, task


@task
def numbers(n: int = 3) -> list[int]:
    """From 1 to ``n``."""
    return list(range(1, n + 1))


@task(each={"number": "numbers"})
def one_more(number: int) -> int:
    """One node per number."""
    return number + 1


@task
def some_more(one_more: int, step: int = 2) -> int:
    """Follows: one node per node above, and ``step`` for all."""
    return one_more + step


@task
def total(some_more: Collected[int]) -> int:
    """Gathers: 15 for three numbers, 0 for none."""
    return sum(some_more)
