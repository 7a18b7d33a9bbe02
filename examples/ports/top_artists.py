"""Luigi's top artists: count a day at a time, add up, take the ten largest.

The week of departures stands in for the streams, and the destination for the artist. Every day is
a node: ``-P last=2013-02-08`` first, then without it, and the second run counts only two more days.
"""

from collections import Counter
from collections.abc import Callable
from csv import DictReader
from datetime import date, timedelta
from pathlib import Path

from flowkit import Collected, task

DATA = Path(__file__).parent.parent / "blizzard_week" / "data"


@task
def streams(
    days: Path = DATA, first: date = date(2013, 2, 4), last: date = date(2013, 2, 10)
) -> list[Path]:
    """One file a day, from ``first`` to ``last``."""
    count = (last - first).days + 1
    return [days / f"flights_{first + timedelta(days=day)}.csv" for day in range(count)]


@task(each={"file": "streams"})
def day_count(file: Path) -> dict[str, int]:
    """How often each artist was played on a day."""
    with file.open(encoding="utf-8", newline="") as lines:
        return dict(Counter(row["dest"] for row in DictReader(lines)))


@task
def artist_count(day_count: Collected[dict[str, int]]) -> dict[str, int]:
    """The days together."""
    together: Counter[str] = Counter()
    for day in day_count:
        together.update(day)
    return dict(sorted(together.items()))


@task
def top_artists(artist_count: dict[str, int], most: int = 10) -> dict[str, int]:
    """The largest, the largest first; equals in the order of their names."""
    ordered = sorted(artist_count.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:most])


@task
def top_artists_file(top_artists: dict[str, int], out: Callable[[str], Path]) -> Path:
    """The same as a table: ``out/top_artists_file/top_artists.tsv``."""
    table = out("top_artists.tsv")
    table.write_text("".join(f"{artist}\t{n}\n" for artist, n in top_artists.items()))
    return table
