"""Any flow, edited and run in any order: what is seen is what a run without a cache gives, and no more is called.

    from flowkit.testing import FlowMachine

    class Mine(FlowMachine):
        executors = ("inline", "mine")
        plugins = ("my_plugin",)

    TestMine = Mine.TestCase

A hypothesis stateful machine for authors of executors and plugins, and flowkit's own main test. It draws a
flow, and then edits it, changes what it takes, runs it here and in other processes, kills those, sweeps
the store, loses values of it, lets time pass, continues runs and repeats what failed: on the real store, with
the real history. After each step:

- every node ended as the reference interpreter says, with that value;
- nothing was called that was still true, and nothing reused that was never computed;
- nothing that a continued run ended well was called again, ``cache=False`` included.

Its size is that of any stateful test: ``TestMine.settings = settings(max_examples=…, stateful_step_count=…)``.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from flowkit.testing.judge import HOUR, Aim, Judge, task_of
from flowkit.testing.processes import (
    CALL_POINTS,
    NOTHING,
    WRITER_POINTS,
    OtherProcess,
    Request,
    perform,
)
from flowkit.testing.reference import HELPERS, LIFE, Map, Model, maps, steps
from flowkit.testing.storekeeper import Stock, Storekeeper
from flowkit_plugins.cache.gc import Policy
from flowkit_plugins.cache.packs import row_of

_MOST_STEPS = 4
_EPOCH = 1_700_000_000
_other = OtherProcess()
atexit.register(_other.close)


class FlowMachine(RuleBasedStateMachine):
    """See the module.

    Attributes:
        executors: Those that runs in this process are made on, by name.
        plugins: Further plugins, as for ``-p``.
    """

    executors: ClassVar[Sequence[str]] = ("inline", "threads")
    plugins: ClassVar[Sequence[str]] = ()

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="flowkit-machine-"))
        (self.root / "flowkit.toml").touch()
        self.keeper = Storekeeper(self.root)
        self.judge: Judge
        self.parameter = 1
        self._written = self._runs = 0

    def teardown(self) -> None:
        """Remove all of it."""
        self.keeper.history.close()
        shutil.rmtree(self.root, ignore_errors=True)

    @initialize(data=st.data(), count=st.integers(1, _MOST_STEPS), mapped=maps(), length=st.integers(0, 4))
    def begin(self, data: st.DataObject, count: int, mapped: Map, length: int) -> None:
        """Write a flow."""
        model = Model(self.root, [data.draw(steps(i)) for i in range(count)], mapped, length)
        self.judge = Judge(model, self.keeper)
        self._write()

    @property
    def model(self) -> Model:
        """The flow as it is now."""
        return self.judge.model

    def _write(self) -> None:
        self._written += 1
        for name, text in self.model.render().items():
            file = self.root / name
            file.parent.mkdir(exist_ok=True)
            if not file.exists() or file.read_text() != text:
                file.write_text(text)
                at = _EPOCH + 3 * self._written  # two states of a file never share a time
                os.utime(file, (at, at))

    # Edits

    @rule(j=st.integers(0, HELPERS - 1), number=st.integers(1, 3))
    def edit_helper(self, j: int, number: int) -> None:
        """Change what a helper returns; others call it."""
        self.model.helpers[j] = number
        self._write()

    @rule(j=st.integers(0, HELPERS - 1), number=st.integers(0, 2))
    def edit_constant(self, j: int, number: int) -> None:
        """Change a constant that a helper uses."""
        self.model.constants[j] = number
        self._write()

    @rule()
    def edit_comment(self) -> None:
        """Change comments and a docstring."""
        self.model.remark += 1
        self._write()

    @rule(number=st.integers(1, 3))
    def change_parameter(self, number: int) -> None:
        """Give the parameter another value from now on."""
        self.parameter = number

    @rule(number=st.integers(1, 3))
    def change_input_file(self, number: int) -> None:
        """Change the input file."""
        self.model.file = number
        self._write()

    @rule(length=st.integers(0, 5))
    def change_length(self, length: int) -> None:
        """Change how many items there are."""
        self.model.length = length
        self._write()

    # Time and the store

    @rule(hours=st.sampled_from([LIFE // HOUR, 2, LIFE // HOUR]))
    def expire(self, hours: int) -> None:
        """Let time pass."""
        self.judge.shift += hours * HOUR

    # What there is after a crash hangs off when exactly it was: so what is drawn is only which, not of what.

    @precondition(lambda self: self._runs)
    @rule(which=st.integers(0, 20))
    def delete_blob(self, which: int) -> None:
        """Lose a stored value."""
        stock = self.keeper.stock()
        rows = sorted({row_of(t.blob) for t in stock.traces.values() if t.blob} & stock.rows)
        if rows:
            row = _stable(rows, stock)[which % len(rows)]
            self.keeper.delete_row(row)
            self.judge.lost.add(row)
            self.judge.forget(self.keeper.stock())

    @precondition(lambda self: self._runs)
    @rule(which=st.integers(0, 20))
    def pin(self, which: int) -> None:
        """Keep a result from gc."""
        traces = [t for t in self.keeper.stock().traces.values() if t.kind != "private"]
        if traces:
            one = sorted(traces, key=lambda t: (t.node, t.created))[which % len(traces)]
            self.keeper.pin(one.key, one.node)
            self.judge.pinned.add(one.key)

    @precondition(lambda self: self._runs)
    @rule(
        last=st.integers(1, 3),
        age=st.sampled_from([None, 6 * HOUR, 3 * LIFE]),
        size=st.sampled_from([None, None, 50_000]),
    )
    def gc(self, last: int, age: int | None, size: int | None) -> None:
        """Sweep the store: what is young, pinned, or needed by a run that can be continued stays."""
        before = self.keeper.stock()
        self.keeper.collect(Policy(size, age, last), self.judge.shift)
        self.judge.after_gc(before, self.keeper.stock(), last if age is None and size is None else 0)

    # Runs

    @rule(data=st.data())
    def run(self, data: st.DataObject) -> None:
        """Run all of it."""
        self._run_here(self._aim(), data.draw(st.sampled_from(self.executors)))

    @rule(data=st.data())
    def run_target(self, data: st.DataObject) -> None:
        """Run one task, and what it needs."""
        name = f"t{data.draw(st.integers(0, len(self.model.steps) - 1))}"
        self._run_here(self._aim(name), data.draw(st.sampled_from(self.executors)))

    @rule()
    def second_process_runs(self) -> None:
        """Run all of it in another process."""
        aim = self._aim()
        self._run_elsewhere(aim, None)

    @rule(point=st.sampled_from([*WRITER_POINTS, *CALL_POINTS]), count=st.integers(1, 4), resumed=st.booleans())
    def crash(self, point: str, count: int, resumed: bool) -> None:
        """Kill another process while it runs all of it, or continues the last run."""
        aim = self._resumed(self.judge.last) if resumed and self.judge.last is not None else self._aim()
        self._run_elsewhere(aim, (point, count))

    @precondition(lambda self: self._runs)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        """Continue the last run, with its parameter."""
        executor = data.draw(st.sampled_from(self.executors))
        if self.judge.last is not None:
            self._run_here(self._resumed(self.judge.last), executor)

    @rule(data=st.data())
    def last_failed(self, data: st.DataObject) -> None:
        """Run what failed the last time, and what hangs off it: ``--lf``."""
        aim = self._aim()
        if self.judge.failed:
            tasks = self.model.above(self.model.below({task_of(node) for node in self.judge.failed}))
            aim = aim._replace(failed=frozenset(self.judge.failed), tasks=frozenset(tasks))
        self._run_here(aim, data.draw(st.sampled_from(self.executors)), lf=True)

    def _aim(self, name: str = "") -> Aim:
        tasks = frozenset(self.model.above({name}) if name else self.model.edges)
        return Aim(f"m.py::{name}" if name else "m.py", self.parameter, tasks)

    def _resumed(self, last: Aim) -> Aim:
        """Return the same again, as it is when the last run is continued: what took no parameter noted none."""
        noted = last.parameter if self.model.takes_parameter(set(last.tasks)) else 1
        tasks = self._aim(last.target.partition("::")[2]).tasks
        return Aim(last.target, noted, tasks, resume=True)

    def _request(
        self, aim: Aim, executor: str, dies: tuple[str, int] | None = None, *, lf: bool = False
    ) -> Request:
        given = not aim.resume and self.model.takes_parameter(set(self.model.edges))
        return Request(
            self.root,
            aim.target,
            {"executor": executor, "lf": lf, **({"resume": True} if aim.resume else {})},
            {"p": aim.parameter} if given else {},
            self.judge.shift,
            self.plugins,
            dies,
        )

    def _run_here(self, aim: Aim, executor: str, *, lf: bool = False) -> None:
        self._runs += 1
        self._called()
        seen = perform(self._request(aim, executor, lf=lf))
        if seen.exit_code != NOTHING:
            self.judge.look(aim, seen, self._called())
            return
        gone = not aim.failed & self.model.endings(aim.parameter).keys()
        assert gone, "there was something to run"
        assert self.judge.is_narrow(aim), "what hangs off it had to run"
        self.judge.look_after_crash(aim, self._called(), new=True)

    def _run_elsewhere(self, aim: Aim, dies: tuple[str, int] | None) -> None:
        self._runs += 1
        before = self.keeper.last_run()
        self._called()
        seen = _other.perform(self._request(aim, "threads" if dies is None else "inline", dies))
        if seen is not None:
            self.judge.look(aim, seen, self._called())
            return
        run = self.keeper.last_run()
        new = run is not None and (before is None or run.number > before.number)
        self.judge.look_after_crash(aim, self._called(), new=new)

    def _called(self) -> list[str]:
        """Return what tasks wrote down of their calls since the last time."""
        file = self.root / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines


def _stable(rows: list[str], stock: Stock) -> list[str]:
    """Return rows in an order that does not hang off their names, some of which are drawn."""
    users: dict[str, list[str]] = {row: [] for row in rows}
    for trace in stock.traces.values():
        if trace.blob and row_of(trace.blob) in users:
            users[row_of(trace.blob)].append(f"{trace.node} {trace.digest}")
    return sorted(rows, key=lambda row: sorted(users[row]))
