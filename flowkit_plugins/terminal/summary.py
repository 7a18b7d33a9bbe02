"""What is printed when a run is over, below its failures: slowest nodes, notes, short summary, last line."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence

from flowkit.graph import BoundTask
from flowkit.printable import clean
from flowkit.reports import BAD, NodeReport, RunReport, Section
from flowkit_plugins.terminal import traceback
from flowkit_plugins.terminal.failures import MOST, excuse
from flowkit_plugins.terminal.progress import STYLES
from flowkit_plugins.terminal.style import Screen, counted, first_line, fit, took

#: The order of the last line.
ORDER = ("ran", "same", "cached", "skipped", "failed", "timeout", "error", "upstream", "not run")
#: What ``-r`` shows if it is not given.
DEFAULT_SHOW = "fE"
#: Columns that an error gets at the least, even if its line does not fit then.
LEAST_WHY = 20
#: Seconds that must have been saved to be told of.
LEAST_SAVED = 0.005

_RETRIED = "retried"
_SHOWS = {
    "f": ("failed", "timeout"),
    "t": ("timeout",),
    "e": ("error",),
    "s": ("skipped",),
    "u": ("upstream",),
    "c": ("cached",),
    "r": (_RETRIED,),
    "p": ("ran", "same"),
}
_SHORTHANDS = {"a": "fesucr", "A": "fesucrp", "N": "", ".": "p", "=": "p"}


def shows(chars: str) -> list[str]:
    """Return the words that ``-r`` asks for, in its order; as in pytest, ``N`` undoes what stands before it."""
    found: dict[str, None] = {}
    for char in chars:
        if char == "N":
            found.clear()
        for each in _SHORTHANDS.get(char, char.lower()):
            found.update(dict.fromkeys(_SHOWS.get(each, ())))
    return list(found)


def write_durations(screen: Screen, nodes: Sequence[NodeReport], most: int) -> None:
    """Print the slowest nodes; 0 means all that were called."""
    called = [node for node in nodes if node.attempts]
    slowest = heapq.nlargest(most or len(called), called, key=lambda node: node.duration)
    screen.rule(f"slowest {counted(most, 'duration')}" if most else "slowest durations")
    several = len({node.task.flow for node in slowest}) > 1
    for node in slowest:
        name = node.full_id if several else node.node
        screen.line(f"{took(node.duration):>8} call     {clean(name)}")


def write_sections(screen: Screen, sections: Iterable[Section]) -> None:
    """Print what plugins have to say."""
    for section in sections:
        screen.rule(section.title)
        screen.lines(section.lines)


def write_notes(screen: Screen, notes: Sequence[str]) -> None:
    """Print what is said once for the whole run."""
    if notes:
        screen.rule("NOTES", style="yellow")
        screen.lines(notes)


# --- short summary ----------------------------------------------------------------------------


def write_short(screen: Screen, report: RunReport, chars: str, *, verbose: bool) -> None:
    """Print a line per node of the kinds that ``chars`` ask for; like nodes share one unless ``verbose``."""
    lines = list(_short(screen, report, shows(chars), verbose=verbose))
    if lines:
        screen.rule("short summary", style="bold")
        for word, rest in lines:
            style = STYLES.get("retry" if word == _RETRIED else word, "")
            screen.line(f"{screen.paint(word.upper(), style)} {rest}")


def _short(
    screen: Screen, report: RunReport, words: Sequence[str], *, verbose: bool
) -> Iterator[tuple[str, str]]:
    found: dict[str, list[NodeReport]] = {word: [] for word in (*words, "not run")}
    retried = found.get(_RETRIED)
    for node in report.nodes:
        if node.word in found:
            found[node.word].append(node)
        if retried is not None and len(node.attempts) > 1:
            retried.append(node)
    for word, nodes in found.items():
        if word in BAD:
            lines = _bad(screen, word, nodes, verbose=verbose)
        elif word == "not run":
            lines = _unrun(nodes) if not verbose else iter(())
        else:
            lines = _alike(word, nodes, verbose=verbose)
        for line in lines:
            yield word, line
        if word == "error":
            for teardown in report.teardowns:
                why = traceback.headline(teardown.error)
                yield word, f"teardown of `{teardown.resource}` ({teardown.where}) - {why}"


def _bad(screen: Screen, word: str, nodes: Sequence[NodeReport], *, verbose: bool) -> Iterator[str]:
    """Yield ``weather.py::page[3] - ValueError: bad``; of a mapped task ten and a count."""
    by_task: dict[BoundTask, list[NodeReport]] = {}
    for node in nodes:
        by_task.setdefault(node.task, []).append(node)
    for task, each in by_task.items():
        most = len(each) if verbose else MOST
        for node in each[:most]:
            name, why, note = clean(node.full_id), _why(node), excuse(node)
            if screen.is_terminal and not verbose:
                why = fit(why, max(LEAST_WHY, screen.width - len(f"{word} {name} - {note}")))
            yield f"{name} - {why}{note}" if why else name + note
        if len(each) > most:
            yield f"… and {counted(len(each) - most, f'more {word} element')} of `{task.name}`"


def _why(node: NodeReport) -> str:
    error = node.error or (node.last.error if node.last is not None else None)
    return traceback.headline(error) or first_line(node.reason)


def _alike(word: str, nodes: Sequence[NodeReport], *, verbose: bool) -> Iterator[str]:
    """Yield a line per node or, of those of a task that share a reason, one with their number."""
    groups: dict[tuple[object, str], list[NodeReport]] = {}
    for node in nodes:
        reason = (
            f"{counted(len(node.attempts), 'attempt')}"
            if word == _RETRIED
            else first_line(node.reason)
        )
        groups.setdefault((node if verbose else node.task, reason), []).append(node)
    for (_, reason), each in groups.items():
        first = each[0]
        name = clean(first.full_id)
        if len(each) > 1:
            name = f"{first.task.flow.path}::{first.task.name} ({counted(len(each), 'node')})"
        yield f"{name} - {reason}" if reason else name


def _unrun(nodes: Sequence[NodeReport]) -> Iterator[str]:
    """Yield one line per reason for which nodes were not run, however many tasks that concerns."""
    reasons: dict[str, list[NodeReport]] = {}
    for node in nodes:
        reasons.setdefault(first_line(node.reason), []).append(node)
    for reason, each in reasons.items():
        name = clean(each[0].full_id) if len(each) == 1 else counted(len(each), "node")
        yield f"{name} - {reason}" if reason else name


# --- last line --------------------------------------------------------------------------------


def write_cut(screen: Screen, report: RunReport) -> None:
    """Print why the run was cut short, if it was."""
    if report.interrupted:
        screen.rule("interrupted", "!", "red")
    elif report.stopped:
        screen.rule(f"stopped: {first_line(report.stopped)}", "!", "red")


def write_last(screen: Screen, report: RunReport, *, quiet: bool) -> None:
    """Print the last line."""
    text = last_line(report)
    style = "bold green" if report.ok else "bold red"
    if quiet:
        screen.line(text, style)
    else:
        screen.rule(text, style=style)


def last_line(report: RunReport) -> str:
    """Return ``3 ran, 41 cached, 1 failed, 2 upstream in 4.21s (saved 6m12s)``."""
    text = f"{_counts(report.counts)} in {took(report.duration)}"
    saved = sum(node.saved for node in report.nodes)
    return f"{text} (saved {took(saved)})" if saved >= LEAST_SAVED else text


def _counts(counts: Mapping[str, int]) -> str:
    return (
        ", ".join(f"{counts[word]} {word}" for word in ORDER if counts.get(word)) or "nothing to do"
    )
