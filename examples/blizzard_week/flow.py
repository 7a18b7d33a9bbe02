"""The blizzard week: departures from New York while the storm Nemo closed the airports.

Shows a pipeline from files to a report: one chain of tasks per day, a quality gate that keeps
disrupted days out of training by ``skip()``, and results that are gathered again. Run it twice:
the second time everything is reused.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from cleaning import problems, read_table, tidy, with_weather
from delays import DayFigures, busiest, delays_by, figures_of, table_of
from learning import arrivals, learn
from pages import Figures, html, markdown, plot

from flowkit import Collected, Skipped, fail, skip, task

DATA = Path(__file__).parent / "data"


@task
def day_files(days: Path = DATA) -> list[Path]:
    """The week's files, one a day, in order."""
    return sorted(days.glob("flights_*.csv"))


@task(each={"file": "day_files"})
def raw_day(file: Path) -> pd.DataFrame:
    """One day as it lies."""
    return read_table(file)


@task
def valid_day(raw_day: pd.DataFrame) -> pd.DataFrame:
    """The day, if its columns, keys and airports are what they should be."""
    if wrong := problems(raw_day):
        fail("; ".join(wrong))
    return raw_day


@task
def clean_day(valid_day: pd.DataFrame) -> pd.DataFrame:
    """The day with the columns in use, its date, and which flights were cancelled."""
    return tidy(valid_day)


@task
def day_figures(clean_day: pd.DataFrame) -> DayFigures:
    """How many flights, how many cancelled, how late."""
    return figures_of(clean_day)


@task
def weather(weather_file: Path = DATA / "weather.csv") -> pd.DataFrame:
    """The weather at the three airports, by the hour."""
    return read_table(weather_file)


@task
def joined_day(clean_day: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """The day's flights, each beside its weather."""
    return with_weather(clean_day, weather)


@task
def flights(joined_day: Collected[pd.DataFrame]) -> pd.DataFrame:
    """The whole week."""
    return pd.concat(joined_day, ignore_index=True)


@task
def by_day(day_figures: Collected[DayFigures]) -> pd.DataFrame:
    """The days' figures as a table."""
    return table_of(day_figures)


@task
def by_carrier(flights: pd.DataFrame) -> pd.DataFrame:
    """Cancellations and delays by airline."""
    return delays_by(flights, "carrier")


@task
def by_origin(flights: pd.DataFrame) -> pd.DataFrame:
    """Cancellations and delays by airport."""
    return delays_by(flights, "origin")


@task
def top_destinations(flights: pd.DataFrame) -> dict[str, int]:
    """The ten places most flown to."""
    return busiest(flights, "dest", 10)


@task
def fit_for_training(day_figures: DayFigures, threshold: float = 0.20) -> str:
    """The quality gate: the date of an ordinary day; a disrupted one goes no further this way."""
    if day_figures.cancel_rate > threshold:
        skip(f"{day_figures.cancel_rate:.0%} cancelled")
    return day_figures.date


@task(needs=["fit_for_training"])
def training_rows(joined_day: pd.DataFrame) -> pd.DataFrame:
    """What an ordinary day teaches."""
    return arrivals(joined_day)


@task(provides=["delay_model", "model_quality"])
def training(training_rows: Collected[pd.DataFrame]) -> tuple[Any, dict[str, float]]:
    """A model of late arrivals, from the ordinary days only, and how good it is."""
    return learn(pd.concat(training_rows, ignore_index=True))


@task
def disruption(fit_for_training: Skipped, day_figures: DayFigures) -> str:
    """A line on a day that the gate turned away; runs for no other."""
    figures = day_figures
    return f"- {figures.date}: {fit_for_training.reason} ({figures.cancelled} of {figures.flights})"


@task
def disruption_note(disruption: Collected[str], out: Callable[[str], Path]) -> Path:
    """The disrupted days, one line each: ``out/disruption_note/disruption.md``."""
    note = out("disruption.md")
    note.write_text("\n".join(disruption) or "None.", encoding="utf-8")
    return note


@task
def delay_plot(by_day: pd.DataFrame) -> bytes:
    """Departures, cancellations and delays by day, as a PNG."""
    return plot(by_day)


@task
def report(
    by_day: pd.DataFrame,
    by_carrier: pd.DataFrame,
    by_origin: pd.DataFrame,
    top_destinations: dict[str, int],
    model_quality: dict[str, float],
    disruption_note: Path,
    delay_plot: bytes,
    out: Callable[[str], Path],
) -> list[Path]:
    """The week as a page: ``out/report/report.html``, and the same in Markdown."""
    note = disruption_note.read_text(encoding="utf-8")
    figures = Figures(by_day, by_carrier, by_origin, top_destinations, model_quality, note)
    page, text, picture = out("report.html"), out("report.md"), out("delays.png")
    page.write_text(html(figures, delay_plot), encoding="utf-8")
    text.write_text(markdown(figures, picture.name), encoding="utf-8")
    picture.write_bytes(delay_plot)
    return [page, text, picture]
