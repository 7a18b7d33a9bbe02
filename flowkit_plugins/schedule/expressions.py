"""Cron expressions as Vixie cron reads them, checked whole, and written anew so that they have one reading.

Five fields, or a nickname like ``@daily``. What cron, croniter and others read differently is either
refused, with what to write instead, or written out here: lists of numbers mean the same to all.
"""

from __future__ import annotations

import calendar
from dataclasses import dataclass
from typing import NamedTuple

NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS = {name: n for n, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))}


class _Field(NamedTuple):
    name: str
    low: int
    high: int
    names: dict[str, int]


_FIELDS = (
    _Field("minute", 0, 59, {}),
    _Field("hour", 0, 23, {}),
    _Field("day of month", 1, 31, {}),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 7, _WEEKDAYS),
)
_LONGEST_MONTHS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Expression:
    """A cron expression, read.

    Attributes:
        text: As it was written.
        minutes, hours, days, months, weekdays: The numbers that fit; Sunday is 0.
        real_time: Whether it follows elapsed time when the clocks change: its minute or hour field
            begins with ``*``. Otherwise it names times of day, and each happens once.
    """

    text: str
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    real_time: bool

    @property
    def every_day(self) -> bool:
        """Whether the day of the month does not matter."""
        return len(self.days) == 31

    @property
    def every_weekday(self) -> bool:
        """Whether the weekday does not matter."""
        return len(self.weekdays) == 7

    @property
    def written_out(self) -> str:
        """The same in a form that every cron reads alike: ``*`` or a list of numbers in each field."""
        numbers = (self.minutes, self.hours, self.days, self.months, self.weekdays)
        full = (60, 24, 31, 12, 7)
        return " ".join(
            "*" if len(found) == count else ",".join(map(str, sorted(found)))
            for found, count in zip(numbers, full, strict=True)
        )


def parse(text: str) -> Expression:
    """Return a cron expression, read.

    Raises:
        ValueError: It is none, it never fires, or it is read differently by different crons.
    """
    words = _spelled_out(text).split()
    minutes, hours, days, months, weekdays = (
        _numbers(word, field) for word, field in zip(words, _FIELDS, strict=True)
    )
    weekdays = frozenset(number % 7 for number in weekdays)
    found = Expression(text, minutes, hours, days, months, weekdays, any(w.startswith("*") for w in words[:2]))
    _check_days(found, words[2], words[4])
    if found.every_weekday and all(min(days) > _LONGEST_MONTHS[month - 1] for month in months):
        raise ValueError(f"it never fires: no such month has a day {min(days)}")
    return found


def _spelled_out(text: str) -> str:
    """Return five fields."""
    stripped = text.strip()
    if stripped.startswith("@"):
        if stripped.lower() not in NICKNAMES:
            raise ValueError(f"{stripped!r} is none of {', '.join(NICKNAMES)}")
        return NICKNAMES[stripped.lower()]
    count = len(stripped.split())
    if count == 5:
        return stripped
    if count in (6, 7):
        raise ValueError(
            f"{text!r} has {count} fields: tools do not agree where seconds or years stand. "
            "Write minute, hour, day of month, month and weekday, or Every('10s')"
        )
    from flowkit.durations import seconds

    try:
        seconds(stripped)
    except ValueError:
        hint = "minute, hour, day of month, month and weekday: '0 6 * * 1-5'"
        raise ValueError(f"{text!r} has {count} of the five fields {hint}") from None
    raise ValueError(f"{text!r} is a duration, no cron expression: write Every({stripped!r})")


def _numbers(word: str, field: _Field) -> frozenset[int]:
    """Return the numbers that fit a field."""
    found: set[int] = set()
    for item in word.split(","):
        found |= _item(item, word, field)
    return frozenset(found)


def _item(item: str, word: str, field: _Field) -> set[int]:
    body, slash, step_text = item.partition("/")
    if body == "?" and field.name in ("day of month", "weekday"):
        body = "*"  # as Quartz and others write it
    top = 6 if field.names is _WEEKDAYS else field.high
    if body == "*":
        low, high = field.low, top
    else:
        low_text, dash, high_text = body.partition("-")
        low = _number(low_text, word, field)
        high = _number(high_text, word, field) if dash else max(top, low) if slash else low
        if field.names is _WEEKDAYS and high == 0 < low:
            high = 7  # mon-sun
        if high < low:
            split = f"{low_text}-{top},{field.low}-{high_text}"
            raise ValueError(f"{field.name} {body!r} runs backwards: write {split!r} if it shall run over the end")
    if not slash:
        return set(range(low, high + 1))
    if not _is_number(step_text) or int(step_text) == 0:
        raise ValueError(f"{field.name} {item!r}: what follows the / is a whole number above 0")
    step = int(step_text)
    if step > field.high:
        above = _ABOVE[field.name]
        hint = f". Every('{step}m') counts on" if field.name == "minute" else ""
        raise ValueError(f"{field.name} {item!r}: a step begins anew with each {above}, so {step} is never reached{hint}")
    return set(range(low, high + 1, step))


_ABOVE = {"minute": "hour", "hour": "day", "day of month": "month", "month": "year", "weekday": "week"}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _number(text: str, word: str, field: _Field) -> int:
    found = field.names.get(text.lower(), -1)
    if _is_number(text):
        found = int(text)
        if not field.low <= found <= field.high:
            raise ValueError(f"{field.name} {text} is not within {field.low}-{field.high}")
    if found < 0:
        names = f", or {', '.join(field.names)}" if field.names else ""
        known = f"{field.low}-{field.high}{names}, *, lists, ranges and steps"
        raise ValueError(f"{field.name} {word!r}: {text!r} is none of {known}")
    return found


def _check_days(found: Expression, days: str, weekdays: str) -> None:
    """Refuse two day fields of which crons make different days.

    Two plain lists mean "either". With a field that begins with ``*`` Vixie cron means "both", and
    most others "either"; a full range is a restriction to Vixie cron, and none to others.
    """
    for word, mine, other_mine, name, range_ in (
        (days, found.every_day, found.every_weekday, "day of month", "1-31"),
        (weekdays, found.every_weekday, found.every_day, "weekday", "0-6"),
    ):
        star = word.startswith(("*", "?"))
        if other_mine or star == mine:
            continue
        both = f"{name} {word!r} beside {'weekday' if word is days else 'day of month'} {weekdays if word is days else days!r}"
        if star:
            raise ValueError(
                f"{both}: cron takes days that fit both, other tools days that fit either. "
                f"Write it as {word.replace('*', range_, 1)!r} for either; for both, name one here and let a task skip() by the other"
            )
        raise ValueError(f"{both}: it names every day, so cron runs daily and other tools do not. Write * in one of the two")
