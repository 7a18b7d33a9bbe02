"""Any flow, edited and run in any order: what is seen is what a run without a cache gives, and no more runs.

The model knows a flow as numbers. It renders it to files, computes its values itself, and names by
plain tuples all that each value follows from. Whatever it holds for kept must not be called again.
"""

import os
import shutil
import sqlite3
import tempfile
from contextlib import contextmanager
from pathlib import Path

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from reuse_flows import IMPORTS, Clock

import flowkit
from flowkit_plugins.cache import storage
from flowkit_plugins.cache.packs import row_of
from flowkit_plugins.cache.traces import Traces

SOAK = bool(os.environ.get("FLOWKIT_SOAK"))
POINTS = ("before_blob", "after_file", "after_blob", "before_record")
HELPERS = 3
LIFE = 100


@st.composite
def tasks(draw, number):
    """One task as numbers: what it adds up, and modulo what."""
    return {
        "add": draw(st.integers(0, 3)),
        "modulo": draw(st.sampled_from([2, 5, 1000])),
        "helper": draw(st.none() | st.integers(0, HELPERS - 1)),
        "parameter": draw(st.booleans()),
        "file": draw(st.booleans()),
        "ups": sorted(draw(st.sets(st.integers(0, number - 1), max_size=2))) if number else [],
        "expires": draw(st.sampled_from([False, False, True])),
        "large": draw(st.sampled_from([False, False, True])),
    }


class Model:
    """The flow as it is now, and the reference: values, and names for all they follow from."""

    def __init__(self, tasks, length):
        self.tasks = tasks
        self.helpers = [1] * HELPERS
        self.constants = [0] * HELPERS
        self.parameter = 1
        self.file = 1
        self.comment = 0
        self.length = length

    def render(self):
        helpers = [f'"""Version {self.comment}."""', *[f"K{j} = {k}" for j, k in enumerate(self.constants)]]
        for j, number in enumerate(self.helpers):
            inner = f" + help{j - 1}()" if j else ""
            helpers += [f"def help{j}():  # {self.comment}", f"    return {number} + K{j}{inner}"]
        lines = [IMPORTS, "import helpers", f"# {self.comment}"]
        for i, task in enumerate(self.tasks):
            arguments = [f"t{up}" for up in task["ups"]]
            terms = [str(task["add"]), *[f"t{up}['n']" for up in task["ups"]]]
            if task["parameter"]:
                arguments.append("p: int = 1")
                terms.append("p")
            if task["file"]:
                arguments.append("src: Path = Path('data/in.txt')")
                terms.append("int(src.read_text())")
            if task["helper"] is not None:
                terms.append(f"helpers.help{task['helper']}()")
            lines.append(f"@task(cache='{LIFE}s')" if task["expires"] else "@task")
            lines.append(f"def t{i}({', '.join(arguments)}):")
            lines.append(f"    n = ({' + '.join(terms)}) % {task['modulo']}")
            lines.append(f"    return {{'n': n, 'pad': 'x' * {40_000 * task['large']}}}")
        lines.append(f"@task\ndef items(t0): return [t0['n'] + i for i in range({self.length})]")
        lines.append("@task(each={'item': 'items'})\ndef one(item: int): return item * 10 + helpers.help0()")
        lines.append("@task\ndef total(one: Collected[int]): return sum(one)")
        return {"m.py": "\n".join(lines) + "\n", "helpers.py": "\n".join(helpers) + "\n", "data/in.txt": str(self.file)}

    def help(self, j):
        return self.helpers[j] + self.constants[j] + (self.help(j - 1) if j else 0)

    def help_code(self, j):
        return tuple((self.helpers[k], self.constants[k]) for k in range(j + 1))

    def reference(self):
        """Node → (value, what it follows from)."""
        found = {}
        for i, task in enumerate(self.tasks):
            ups = [found[f"t{up}"][0] for up in task["ups"]]
            n = task["add"] + sum(up["n"] for up in ups)
            why = [f"t{i}", *[(up["n"], len(up["pad"])) for up in ups]]
            if task["parameter"]:
                n += self.parameter
                why.append(("p", self.parameter))
            if task["file"]:
                n += self.file
                why.append(("file", self.file))
            if task["helper"] is not None:
                n += self.help(task["helper"])
                why.append(self.help_code(task["helper"]))
            found[f"t{i}"] = ({"n": n % task["modulo"], "pad": "x" * (40_000 * task["large"])}, tuple(why))
        base = found["t0"][0]
        items = [base["n"] + i for i in range(self.length)]
        found["items"] = (items, ("items", base["n"], len(base["pad"]), self.length))
        ones = {f"one[{item}]": item * 10 + self.help(0) for item in items}
        for item in items:
            found[f"one[{item}]"] = (ones[f"one[{item}]"], ("one", item, self.help_code(0)))
        found["total"] = (sum(ones.values()), ("total", tuple(ones.items())))
        return found


class Machine(RuleBasedStateMachine):
    """See the module."""

    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="flowkit-precision-"))
        (self.root / "flowkit.toml").touch()
        self.before = Path.cwd()
        os.chdir(self.root)
        self.clock = Clock()
        self.kept = {}  # what a value follows from → when it was computed; surely in the store
        self.keys = {}  # what it follows from → flowkit's key
        self.written = 0

    def teardown(self):
        os.chdir(self.before)
        shutil.rmtree(self.root, ignore_errors=True)

    @initialize(data=st.data(), count=st.integers(1, 5), length=st.integers(0, 4))
    def begin(self, data, count, length):
        self.model = Model([data.draw(tasks(i)) for i in range(count)], length)
        self.write()

    def write(self):
        self.written += 1
        for name, text in self.model.render().items():
            file = self.root / name
            file.parent.mkdir(exist_ok=True)
            if not file.exists() or file.read_text() != text:
                file.write_text(text)
                os.utime(file, ns=(1_700_000_000_000_000_000 + self.written * 3_000_000_000,) * 2)

    # Edits

    @rule(j=st.integers(0, HELPERS - 1), number=st.integers(1, 3))
    def edit_helper(self, j, number):
        self.model.helpers[j] = number
        self.write()

    @rule(j=st.integers(0, HELPERS - 1), number=st.integers(0, 2))
    def edit_constant(self, j, number):
        self.model.constants[j] = number
        self.write()

    @rule()
    def edit_comment(self):
        self.model.comment += 1
        self.write()

    @rule(number=st.integers(1, 3))
    def change_parameter(self, number):
        self.model.parameter = number

    @rule(number=st.integers(1, 3))
    def change_file(self, number):
        self.model.file = number
        self.write()

    @rule(length=st.integers(0, 5))
    def change_length(self, length):
        self.model.length = length
        self.write()

    @rule()
    def expire(self):
        self.clock.advance(LIFE)

    # The store

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def delete_blob(self, data):
        traces = Traces(self.root / ".flowkit" / "traces.db")
        every = {trace.key: trace for trace in traces.everything() if trace.blob}
        traces.close()
        if not every:
            return
        row = row_of(data.draw(st.sampled_from(sorted(t.blob for t in every.values()))))
        with sqlite3.connect(self.root / ".flowkit" / "results" / "cache.db") as db:
            db.execute("DELETE FROM Cache WHERE key = ?", (row,))
        db.close()
        gone = {key for key, trace in every.items() if row_of(trace.blob) == row}
        self.kept = {why: at for why, at in self.kept.items() if self.keys.get(why) not in gone}

    # Runs

    @rule(executor=st.sampled_from(["inline", "threads"]))
    def run(self, executor):
        self.look("m.py", executor=executor)

    @rule(data=st.data())
    def run_target(self, data):
        number = data.draw(st.integers(0, len(self.model.tasks) - 1))
        self.look(f"m.py::t{number}", executor="inline")

    @rule(point=st.sampled_from(POINTS), count=st.integers(1, 2))
    def run_and_crash(self, point, count):
        """The writer dies at a point: what it had not committed is lost, like all that comes after."""
        with dying(point, count):
            self.look("m.py", executor="inline", crashed=True)

    if SOAK:

        @rule()
        def run_in_another_process(self):
            import subprocess
            import sys

            done = subprocess.run([sys.executable, "-m", "flowkit", "run", "m.py", "-P", f"p={self.model.parameter}", "-p", "no:history"], capture_output=True)
            assert done.returncode == 0, done.stderr

    def look(self, target, *, executor, crashed=False):
        flags = {"params": {"p": self.model.parameter}} if any(t["parameter"] for t in self.model.tasks) else {}
        run = flowkit.run(target, executor=executor, clock=self.clock, p=["no:history", "no:terminal", "no:capture"], **flags)
        assert run.ok, [n.error for n in run.report.nodes if n.error]
        reference = self.model.reference()
        now = self.clock.now()
        for report in run.report.nodes:
            value, why = reference[report.node]
            if report.attempts:
                still = self.kept.get(why)
                assert still is None or self.expired(report.node, still), f"{report} was still true"
            assert self.keys.setdefault(why, report.key) == report.key, f"{report.node} has two keys for one content"
            if report.attempts and crashed:
                self.kept.pop(why, None)
            elif report.attempts or why not in self.kept:
                self.kept[why] = now if report.attempts else self.kept.get(why, self.found_at(report.key))
        assert len(set(self.keys.values())) == len(self.keys), "two contents have one key"
        for name, (value, _) in reference.items():
            if target == "m.py" or name == target.partition("::")[2]:
                assert run[name] == value, name

    def expired(self, node, since):
        number = node[1:]
        return node[0] == "t" and number.isdigit() and self.model.tasks[int(number)]["expires"] and self.clock.now() >= since + LIFE

    def found_at(self, key):
        traces = Traces(self.root / ".flowkit" / "traces.db")
        trace = traces.lookup(key)
        traces.close()
        return trace.created - self.clock.start.timestamp()

    @invariant()
    def nothing_lies_about(self):
        assert not list((self.root / ".flowkit").glob("**/*.tmp"))


@contextmanager
def dying(point, count):
    """Let the writer of the next run raise when it comes to a point for the n-th time."""
    left = [count]

    def at(where):
        if where == point:
            left[0] -= 1
            if not left[0]:
                raise RuntimeError("crashed")

    class Dying(storage.Storage):
        def __init__(self, *args, **keywords):
            super().__init__(*args, at=at, **keywords)

    before, storage.Storage = storage.Storage, Dying
    try:
        yield
    finally:
        storage.Storage = before


TestPrecision = Machine.TestCase
TestPrecision.settings = settings(
    max_examples=2000 if SOAK else 6,
    stateful_step_count=50 if SOAK else 14,
    deadline=None,
    # Shrinking runs flows hundreds of times; a soak has the time for that.
    phases=list(Phase) if SOAK else [Phase.generate],
)
