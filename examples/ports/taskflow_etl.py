"""The tutorial of Airflow's TaskFlow API: extract, transform, load.

Shows a named output (``provides``): ``load`` asks for the total, not for the task that made it.
The print is captured; ``flowkit run taskflow_etl.py -s`` shows it.
"""

import json

from flowkit import task


@task
def extract() -> dict[str, float]:
    """The orders, by number."""
    orders: dict[str, float] = json.loads('{"1001": 301.27, "1002": 433.21, "1003": 502.22}')
    return orders


@task(provides=["total_order_value"])
def transform(extract: dict[str, float]) -> dict[str, float]:
    """The sum of the orders, under a name of its own."""
    return {"total_order_value": sum(extract.values())}


@task(cache=False)
def load(total_order_value: float) -> None:
    """Prints: an effect on the outside, so it happens at every run."""
    print(f"Total order value is: {total_order_value:.2f}")
