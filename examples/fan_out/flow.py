"""Fan-out: a mapped task multiplies what uses it, until something collects.

Sales of three shops in two regions over two days. Shows one node per element, alignment (the same
axis reached by two ways), a product of axes, a nested axis, groups, and ``skip()`` as a filter.
"""

from flowkit import Collected, skip, task

SHOPS = {"north": ["Ayr", "Leith"], "south": ["Bath"]}
SALES = {"Ayr": [3, 0], "Leith": [5, 8], "Bath": [0, 7]}  # pieces on Monday and on Tuesday
PRICES = [10, 12]  # on Monday and on Tuesday


@task
def regions() -> list[str]:
    """An axis of two."""
    return list(SHOPS)


@task
def days() -> dict[str, int]:
    """Another one; the keys of a mapping are the ids: ``sold[north-Ayr-mon]``."""
    return {"mon": 0, "tue": 1}


@task(each={"region": "regions"})
def shops(region: str) -> list[str]:
    """One node per region, and an axis of its own: a nested one, with as many as the region has."""
    return SHOPS[region]


@task(each={"shop": "shops", "day": "days"})
def sold(shop: str, day: int) -> int:
    """A product: one node per shop and day; a day without sales is filtered out."""
    if not SALES[shop][day]:
        skip("nothing sold")
    return SALES[shop][day]


@task(each={"day": "days"})
def price(day: int) -> int:
    """One node per day."""
    return PRICES[day]


@task
def takings(sold: int, price: int) -> int:
    """Aligned: both are mapped over ``days``, so Monday's pieces meet Monday's price."""
    return sold * price


@task(each={"region": "regions"})
def total(region: str, takings: Collected[int]) -> str:
    """Grouped: one node per region, which gathers the axes that it does not carry itself."""
    return f"{region}: {sum(takings)} ({', '.join(takings.ids)})"


@task
def report(total: Collected[str]) -> str:
    """Gathered: one node."""
    return "\n".join(total)
