"""The report as Markdown, as one self-contained HTML page, and the picture in both.

Everything here is a function of the figures: no clock, no random choice; equal figures give equal
files.
"""

import base64
from dataclasses import dataclass
from html import escape
from io import BytesIO

import pandas as pd

CSS = """
body { font: 16px/1.5 system-ui, sans-serif; color: #222; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
.note { background: #fff4e5; border-left: 4px solid #e69138; padding: .5rem 1rem; }
"""


@dataclass(frozen=True)
class Figures:
    """All that the report says."""

    by_day: pd.DataFrame
    by_carrier: pd.DataFrame
    by_origin: pd.DataFrame
    destinations: dict[str, int]
    model: dict[str, float]
    disruption: str

    def summary(self) -> str:
        """Return the week in one sentence."""
        flights = int(self.by_day["flights"].sum())
        cancelled = int(self.by_day["cancelled"].sum())
        return f"{len(self.by_day)} days, {flights:,} flights, {cancelled:,} of them cancelled."

    def learned(self) -> str:
        """Return what became of the model in one sentence."""
        return (
            f"Learned from {self.model['rows']:,} arrivals on ordinary days, "
            f"{self.model['late']:.1%} of them late; "
            f"AUC on unseen flights: {self.model['auc']:.3f}."
        )

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the tables by title, in the order of the report."""
        places = pd.DataFrame(list(self.destinations.items()), columns=["dest", "flights"])
        return {
            "By day": self.by_day,
            "By origin": self.by_origin,
            "By carrier": self.by_carrier,
            "Where to": places,
        }


def plot(by_day: pd.DataFrame) -> bytes:
    """Return a PNG: flown and cancelled departures a day, and how late the arrivals were."""
    from matplotlib.figure import Figure  # a run that reuses the plot does not wait for it

    figure = Figure(figsize=(8, 4), layout="constrained")
    flights = figure.subplots()
    dates = [date[5:] for date in by_day["date"]]
    flown, cancelled = by_day["flights"] - by_day["cancelled"], by_day["cancelled"]
    flights.bar(dates, flown, color="#6fa8dc", label="flown")
    flights.bar(dates, cancelled, bottom=flown, color="#e69138", label="cancelled")
    flights.set_ylabel("departures")
    delay = flights.twinx()
    minutes = by_day["mean_arr_delay_min"]
    delay.plot(dates, minutes, "o-", color="#444444", label="mean arrival delay")
    delay.set_ylabel("minutes")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=100, metadata={"Software": None})
    return png.getvalue()


def markdown(figures: Figures, picture: str) -> str:
    """Return the report as Markdown; ``picture`` is the name of the PNG beside it."""
    parts = [
        "# The blizzard week",
        figures.summary(),
        f"![Departures and delays by day]({picture})",
    ]
    for title, table in figures.tables().items():
        parts += [f"## {title}", _markdown_table(table)]
    parts += ["## A model of late arrivals", figures.learned()]
    parts += ["## Disrupted days", figures.disruption]
    return "\n\n".join(parts) + "\n"


def html(figures: Figures, png: bytes) -> str:
    """Return the report as one HTML page with the picture in it."""
    image = base64.b64encode(png).decode("ascii")
    body = [
        "<h1>The blizzard week</h1>",
        f"<p>{escape(figures.summary())}</p>",
        f'<img alt="Departures and delays by day" src="data:image/png;base64,{image}">',
    ]
    for title, table in figures.tables().items():
        body += [f"<h2>{escape(title)}</h2>", _html_table(table)]
    lines = "<br>".join(escape(line.removeprefix("- ")) for line in figures.disruption.splitlines())
    body += [
        "<h2>A model of late arrivals</h2>",
        f"<p>{escape(figures.learned())}</p>",
        "<h2>Disrupted days</h2>",
        f'<p class="note">{lines}</p>',
    ]
    head = f'<meta charset="utf-8"><title>The blizzard week</title><style>{CSS}</style>'
    return "\n".join(
        ["<!doctype html>", f'<html lang="en"><head>{head}</head><body>', *body, "</body></html>"]
    )


def _rows(table: pd.DataFrame) -> list[list[str]]:
    return [[_cell(value) for value in row] for row in table.itertuples(index=False)]


def _cell(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _markdown_table(table: pd.DataFrame) -> str:
    lines = [list(table.columns), ["---", *["---:"] * (len(table.columns) - 1)], *_rows(table)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _html_table(table: pd.DataFrame) -> str:
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in _rows(table)]
    return "<table>\n" + "\n".join(f"<tr>{row}</tr>" for row in [head, *rows]) + "\n</table>"
