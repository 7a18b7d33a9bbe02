"""What a day of departures looks like when it is in order, and how it is put in order.

An empty ``dep_time`` is how the source says that a flight was cancelled.
"""

from pathlib import Path

import pandas as pd

KEY = ["year", "month", "day", "carrier", "flight", "origin"]
COLUMNS = [
    *KEY,
    "hour",
    "dest",
    "distance",
    "dep_time",
    "dep_delay",
    "arr_delay",
    "tailnum",
    "time_hour",
]
ORIGINS = {"EWR", "LGA", "JFK"}


def read_table(file: Path) -> pd.DataFrame:
    """Return a CSV file; only ``NA`` and nothing at all count as missing."""
    return pd.read_csv(file, na_values=["NA", ""], keep_default_na=False)


def problems(day: pd.DataFrame) -> list[str]:
    """Return what is wrong with a raw day, in words; nothing if it is in order."""
    missing = [column for column in COLUMNS if column not in day.columns]
    if missing:
        return [f"no column {', '.join(missing)}"]
    found = []
    if day.empty:
        found.append("no rows")
    if repeated := int(day.duplicated(KEY).sum()):
        found.append(f"{repeated} rows repeat a flight")
    if strangers := sorted(set(day["origin"].astype(str)) - ORIGINS):
        found.append(f"unknown origin {', '.join(strangers)}")
    return found


def tidy(day: pd.DataFrame) -> pd.DataFrame:
    """Return the columns in use, with the date as text and whether the flight was cancelled."""
    dates = pd.to_datetime(day[["year", "month", "day"]]).dt.strftime("%Y-%m-%d")
    kept = day[[column for column in COLUMNS if column not in ("year", "month", "day")]]
    return kept.assign(date=dates, cancelled=day["dep_time"].isna())


def with_weather(day: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """Return every flight beside the weather at its airport in its scheduled hour, if known."""
    measured = weather[["origin", "time_hour", "temp", "humid", "wind_speed", "precip", "visib"]]
    return day.merge(measured, on=["origin", "time_hour"], how="left", validate="many_to_one")
