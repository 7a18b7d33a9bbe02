"""The figures of the week: cancellations and delays by day, carrier and origin.

Delays are in minutes; a flight that never arrived has none and is left out of the mean.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import pandas as pd


@dataclass(frozen=True)
class DayFigures:
    """One day in six numbers; ``cancel_rate`` is a fraction of ``flights``."""

    date: str
    flights: int
    cancelled: int
    cancel_rate: float
    mean_arr_delay_min: float
    departed_without_arr_delay: int


def figures_of(day: pd.DataFrame) -> DayFigures:
    """Return the figures of one clean day."""
    departed = ~day["cancelled"]
    return DayFigures(
        date=str(day["date"].iloc[0]),
        flights=len(day),
        cancelled=int(day["cancelled"].sum()),
        cancel_rate=round(float(day["cancelled"].mean()), 4),
        mean_arr_delay_min=round(float(day["arr_delay"].mean()), 3),
        departed_without_arr_delay=int((departed & day["arr_delay"].isna()).sum()),
    )


def table_of(days: Iterable[DayFigures]) -> pd.DataFrame:
    """Return the days' figures as a table, one row a day."""
    return pd.DataFrame([asdict(day) for day in days])


def delays_by(flights: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return flights, cancellations and mean arrival delay per value of ``column``, in order."""
    groups = flights.groupby(column, sort=True)
    counted = groups.agg(
        flights=("cancelled", "size"),
        cancelled=("cancelled", "sum"),
        mean_arr_delay=("arr_delay", "mean"),
    )
    return counted.round({"mean_arr_delay": 3}).reset_index()


def busiest(flights: pd.DataFrame, column: str, most: int) -> dict[str, int]:
    """Return the ``most`` frequent values of ``column`` and their counts; ties go by name."""
    counts = flights[column].value_counts()
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return {str(value): int(count) for value, count in ordered[:most]}
