"""Runs as text and as JSON."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from flowkit.durations import words
from flowkit.records import record
from flowkit.reports import LETTERS
from flowkit_plugins.history.reading import BAD_ENDS, AttemptEnd, NodeEnd, Repair, RunRow
from flowkit_plugins.history.tree import ORDER, WRONG, TaskEnd, critical_path, not_torn_down

_MORE_LETTERS = {"interrupted": "!", "running": ">", "replaced": "F", "not run": "-"}
#: The order of the last line of a run.
RUN_ORDER = ("ran", "same", "cached", "skipped", "replaced", "failed", "timeout", "error", "upstream", "interrupted", "not run")
#: Elements of a mapped task that are shown without ``-v``, and steps of the critical path.
MOST = 10


def ago(started: float) -> str:
    """Return how long ago something was."""
    passed = time.time() - started
    return "just now" if passed < 1 else f"{words(passed)} ago"


def when(started: float) -> str:
    """Return a time as people read it."""
    return datetime.fromtimestamp(started).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def counted(counts: Mapping[str, int], order: Sequence[str] = RUN_ORDER) -> str:
    """Return ``3 ran, 1 failed``; words that ``order`` does not name come last."""
    words = [*(word for word in order if word in counts), *(w for w in counts if w not in order)]
    return ", ".join(f"{counts[word]} {word}" for word in words) or "nothing ended"


def run_as_json(run: RunRow, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return a run as ``runs --json`` has it."""
    return {
        "id": run.id, "flow": run.flow, "status": run.status, "started": iso(run.started),
        "duration": None if run.ended is None else round(run.ended - run.started, 3), "counts": counts,
        "scheduled_at": run.scheduled, "continues": run.continues, "parent": run.parent,
    }  # fmt: skip


def iso(at: float | None) -> str | None:
    """Return a time in ISO 8601, with its offset."""
    return (
        None
        if at is None
        else datetime.fromtimestamp(at).astimezone().isoformat(timespec="milliseconds")
    )


def run_lines(runs: Sequence[tuple[RunRow, Mapping[str, int]]]) -> Iterator[str]:
    """Yield a line per run."""
    rows = [
        (
            run.id, run.status, when(run.started), _lasted(run), run.flow,
            counted(counts) + (f"; continues {run.continues}" if run.continues else "") + (f"; in {run.parent}" if run.parent else ""),
        )
        for run, counts in runs
    ]  # fmt: skip
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(5)]
    for row in rows:
        yield "  ".join(
            [*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]
        ).rstrip()


def _lasted(run: RunRow) -> str:
    if run.ended is not None:
        return words(run.ended - run.started)
    return f"{words(time.time() - run.started)}…" if run.status == "running" else ""


def with_running(run: RunRow, tasks: list[TaskEnd]) -> list[TaskEnd]:
    """Return tasks in which nodes that run, or ran when the run was last heard of, say so."""
    for task in tasks:
        for place, node in enumerate(task.nodes):
            if node.word == "running":
                task.nodes[place] = node._replace(reason=how_long(run, node))
    return tasks


def how_long(run: RunRow, node: NodeEnd) -> str:
    """Return for how long a node has been running."""
    if run.status != "running":
        return f"when the run was {run.status}"
    return f"for {words(max(0.0, time.time() - run.started - (node.started or 0.0)))}"


def head_line(attempt: AttemptEnd) -> str:
    """Return the line above what an attempt printed: which one it was, and how it ended."""
    took = "" if attempt.took is None else f" {words(attempt.took)}"
    return f"=== {attempt.node} attempt {attempt.number}: {attempt.kind}{took} ==="


def how_it_failed(attempt: AttemptEnd) -> list[str]:
    """Return the traceback or error of an attempt, and what followed; nothing of one that did not fail."""
    found = (attempt.traceback or attempt.error or "").rstrip().splitlines()
    if attempt.kind == "success":
        return []
    return [*found, *([f"({attempt.again})"] if attempt.again else [])]


@record()
class Story:
    """All that ``flowkit show`` tells of one run."""

    run: RunRow
    begin: dict[str, Any]
    end: dict[str, Any]
    tasks: list[TaskEnd]
    attempts: list[AttemptEnd]
    repairs: list[Repair]
    children: list[RunRow]

    @property
    def _duration(self) -> float | None:
        return None if self.run.ended is None else self.run.ended - self.run.started

    def lines(self, *, verbose: bool) -> Iterator[str]:
        """Yield the run as text."""
        yield from self._head()
        errors = {a.node: a.error for a in self.attempts if a.error and a.kind != "success"}
        yield ""
        for task in self.tasks:
            yield from _task_lines(task, errors, verbose=verbose)
        path = critical_path(self.tasks)
        if path and sum(len(task.nodes) for task in self.tasks) > 1:
            spans = self._spans(path)
            yield ""
            steps = [f"{_short(node)} {words(span)}" for node, span in zip(path, spans, strict=True)]
            if len(steps) > MOST:
                half = MOST // 2
                steps[half:-half] = [f"… {len(steps) - 2 * half:,} more …"]
            yield f"critical path, {words(sum(spans))}: {' → '.join(steps)}"
        yield from self._tail()

    def _spans(self, path: Sequence[NodeEnd]) -> list[float]:
        """Return the seconds from each node's first attempt to its end: retries and their delays count."""
        first: dict[str, float] = {}
        for attempt in self.attempts:
            first.setdefault(attempt.node, attempt.started)
        return [
            (node.started or 0.0) + (node.took or 0.0) - first.get(node.node, node.started or 0.0) for node in path
        ]

    def _head(self) -> Iterator[str]:
        run, begin = self.run, self.begin
        took = f", {words(self._duration)}" if self._duration is not None else ""
        yield f"run {run.id} of {run.flow}: {run.status}{took}, began {when(run.started)} ({ago(run.started)})"
        if begin.get("command"):
            yield f"  {begin['command']}"
        versions = begin.get("versions", {})
        commit = f", commit {begin['commit'][:10]}" if begin.get("commit") else ""
        yield f"  flowkit {versions.get('flowkit', '?')}, Python {versions.get('python', '?')}{commit}, {begin.get('executor', '?')}"
        params = begin.get("params", {})
        if params:
            yield "  " + ", ".join(f"{name}={noted['shown']}" for name, noted in params.items())
        if run.continues:
            yield f"  continues run {run.continues}"
        if run.parent:
            yield f"  started by {begin.get('parent_node', 'a task')} of run {run.parent}"

    def _tail(self) -> Iterator[str]:
        for note in self.end.get("notes", ()):
            yield f"note: {note}"
        for torn in self.end.get("teardowns", ()):
            yield f"teardown of {torn['resource']} ({torn['where']}) failed: {torn['error']}"
        for repair in self.repairs:
            yield f"set by hand by {repair.who} {ago(repair.made)}: {repair.node} {repair.what} {repair.value or ''}".rstrip()
        for child in self.children:
            yield f"child run {child.id} of {child.flow}: {child.status}"
        if self.run.status in ("lost", "killed"):
            left = not_torn_down(self.tasks)
            if left:
                yield f"not torn down: {', '.join(left)}"
        if self.run.status in BAD_ENDS and self.begin.get("resumable"):
            yield f"continue it with: {command([task.key for task in self.tasks], self.begin)} --resume={self.run.id}"
            params = self.begin.get("params", {})
            again = [name for name, noted in params.items() if noted["secret"] and noted["given"]]
            if again:
                yield f"  (with {', '.join(again)}: secrets are not stored)"

    def as_json(self) -> dict[str, Any]:
        """Return the run as ``show --json`` has it."""
        run = self.run
        counts: dict[str, int] = {}
        for task in self.tasks:
            for word, number in task.counts.items():
                counts[word] = counts.get(word, 0) + number
        if torn := len(self.end.get("teardowns", ())):
            counts["error"] = counts.get("error", 0) + torn
        by_node: dict[str, list[dict[str, Any]]] = {}
        for attempt in self.attempts:
            noted = attempt._asdict()
            noted["sections"] = json.loads(attempt.sections or "[]")
            noted["arguments"] = json.loads(attempt.arguments or "null")
            by_node.setdefault(noted.pop("node"), []).append(noted)
        return {
            **run_as_json(run, counts),
            "ended": iso(run.ended),
            **{name: self.begin.get(name) for name in ("command", "folder", "executor", "slots", "params", "versions", "commit", "host", "parent_node")},
            **self.end,
            "critical_path": [node.node for node in critical_path(self.tasks)],
            "not_torn_down": not_torn_down(self.tasks) if run.status in ("lost", "killed") else [],
            "children": [child.id for child in self.children],
            "repairs": [repair._asdict() for repair in self.repairs],
            "nodes": [{**node._asdict(), "took": node.called, "saved": node.saved, "attempts": by_node.get(node.node, [])} for task in self.tasks for node in task.nodes],
            "tasks": [{"task": task.key, "mapped": task.mapped, "after": [up.key for up in task.ups if up.key], "counts": task.counts} for task in self.tasks],
        }  # fmt: skip


def _task_lines(task: TaskEnd, errors: Mapping[str, str | None], *, verbose: bool) -> Iterator[str]:
    indent = "  " * min(task.depth, 12)
    single = len(task.nodes) == 1 and not task.mapped
    if not task.nodes:
        yield f"{indent}  {task.key.partition('::')[2]}  nothing ended"
    elif single:
        yield _node_line(indent, task.nodes[0], errors)
    else:
        yield f"{indent}{_letter(task)} {task.key.partition('::')[2]} ×{len(task.nodes)}  {counted(task.counts, ORDER)}  {words(task.took)}"
        shown = task.nodes if verbose else [n for n in task.nodes if n.word in WRONG]
        for node in shown if verbose else shown[:MOST]:
            yield _node_line(f"{indent}    ", node, errors)
        if not verbose and len(shown) > MOST:
            yield f"{indent}      … and {len(shown) - MOST} more; -v shows all"


def _letter(task: TaskEnd) -> str:
    word = next(iter(task.counts), "")
    return LETTERS.get(word) or _MORE_LETTERS.get(word, " ")


def _node_line(indent: str, node: NodeEnd, errors: Mapping[str, str | None]) -> str:
    letter = LETTERS.get(node.word) or _MORE_LETTERS.get(node.word, " ")
    parts = [f"{indent}{letter} {_short(node)}", node.word.upper()]
    if node.called is not None:
        parts.append(words(node.called))
    if node.tries > 1:
        parts.append(f"{node.tries} attempts")
    if node.reason and node.reason != node.word:
        parts.append(node.reason)
    error = errors.get(node.node)
    if error and node.word in WRONG | {"replaced"}:
        parts.append(f"- {error.splitlines()[0]}")
    return "  ".join(parts)


def command(keys: Sequence[str], begin: Mapping[str, Any]) -> str:
    """Return how the flows of a run are run from here.

    Args:
        keys: Of its tasks, or nodes.
        begin: What was noted of the run at its start.
    """
    paths = dict.fromkeys(key.partition("::")[0] for key in keys if key)
    return shlex.join(["flowkit", "run", *(_from_here(path, begin.get("root", "")) for path in paths)])


def _from_here(path: str, root: str) -> str:
    """Return a flow's path, which is relative to the root folder, as it is written in the current one."""
    return path if os.path.exists(path) or not root else os.path.relpath(os.path.join(root, path))


def _short(node: NodeEnd) -> str:
    return node.node.partition("::")[2]
