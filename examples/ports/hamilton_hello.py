"""Hamilton's hello world: features of a table, one function per column.

Arguments name what they need, as they do in Hamilton. ``flowkit run
hamilton_hello.py::spend_per_signup`` runs that one task; ``-O spend_mean=30`` puts a value in
place of a task, and only what hangs off it runs again.
"""

import pandas as pd

from flowkit import task

SPEND = [10.0, 10.0, 20.0, 40.0, 40.0, 50.0]
SIGNUPS = [1, 10, 50, 100, 200, 400]


@task
def avg_3wk_spend(spend: list[float] = SPEND) -> pd.Series:
    """The mean of three weeks."""
    return pd.Series(spend).rolling(3).mean()


@task
def spend_per_signup(spend: list[float] = SPEND, signups: list[int] = SIGNUPS) -> pd.Series:
    """What a signup costs."""
    return pd.Series(spend) / pd.Series(signups)


@task
def spend_mean(spend: list[float] = SPEND) -> float:
    """The mean of all weeks."""
    return float(pd.Series(spend).mean())


@task
def spend_zero_mean(spend_mean: float, spend: list[float] = SPEND) -> pd.Series:
    """What is above or below the mean."""
    return pd.Series(spend) - spend_mean


@task
def spend_std_dev(spend: list[float] = SPEND) -> float:
    """The standard deviation of the sample."""
    return float(pd.Series(spend).std())


@task
def spend_zero_mean_unit_variance(spend_zero_mean: pd.Series, spend_std_dev: float) -> pd.Series:
    """The standard score."""
    return spend_zero_mean / spend_std_dev
