"""What the tests of reuse share: a flow in a file, edited and run again, and what became of it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime

from flowkit.testing.clock import VirtualClock
from flowkit_plugins.cache.storage import Storage
from flowkit_plugins.cache.store import Store

IMPORTS = (
    "from typing import *; from pathlib import Path; "
    "from flowkit import Collected, Failure, Flow, From, Outcome, Skipped, Success, fail, resource, skip, task; "
    "from flowkit_plugins.cache import Cache\n"
)


class Session:
    """A project whose flow is ``m.py`` unless a test says otherwise."""

    def __init__(self, project):
        self.project = project
        self.root = project.root
        self.last = None

    def write(self, source, name="m.py"):
        import textwrap

        self.project.write(name, IMPORTS + textwrap.dedent(source) if name.endswith("m.py") else source)
        return self

    def edit(self, old, new, name="m.py"):
        """Replace a text that occurs once."""
        text = self.project.read(name)
        assert text.count(old) == 1, f"{old!r} occurs {text.count(old)} times"
        self.project.write(name, text.replace(old, new))
        return self

    def run(self, target="m.py", **keywords):
        keywords.setdefault("executor", "inline")
        keywords.setdefault("p", ["no:history", "no:terminal",])
        self.last = self.project.run(target, **keywords)
        return self.last

    def words(self, target="m.py", **keywords):
        """Node → how it ended, in a word."""
        return {n.node: n.word for n in self.run(target, **keywords).report.nodes}

    def ran(self, target="m.py", **keywords):
        """The nodes that were called, sorted."""
        report = self.run(target, **keywords).report
        return sorted(n.node for n in report.nodes if n.attempts)

    def reason(self, node, target="m.py", **keywords):
        report = self.run(target, **keywords).report
        return next(n.reason for n in report.nodes if n.node == node)

    def plan(self, target="m.py", **flags):
        """Node → (mark, reason) of ``flowkit plan``, in this process."""
        from flowkit.parameters import Sources
        from flowkit.session import Session as FlowkitSession

        session = FlowkitSession([target], plugin_requests=flags.pop("p", ()))
        try:
            session.configure(flags)
            sources = session.prepare(Sources())
            return {d.node.partition("::")[2]: (d.mark, d.reason) for d in session.plan(sources)}
        finally:
            session.close()

    def value(self, task, **keywords):
        run = self.run(**keywords)
        assert run.ok, [(n.node, n.error) for n in run.report.nodes if n.error]
        return run[task]

    def everything_kept(self):
        """All bytes below ``.flowkit``."""
        files = [*(self.root / ".flowkit").glob("traces.db*"), *(self.root / ".flowkit" / "results").rglob("*")]
        return b"".join(p.read_bytes() for p in sorted(files) if p.is_file() and not p.name.endswith("-shm"))

    def called(self, name="called"):
        """What tasks wrote into the file ``called``, line by line, emptied."""
        file = self.root / name
        lines = file.read_text().split() if file.exists() else []
        file.unlink(missing_ok=True)
        return lines


@contextmanager
def counted_loads(monkeypatch):
    """Count every value that is read back, by whichever door."""
    loads = []
    with monkeypatch.context() as patch:
        get, value = Store.get, Storage.value
        patch.setattr(Store, "get", lambda self, blob: loads.append(blob) or get(self, blob))
        patch.setattr(Storage, "value", lambda self, trace: loads.append(trace.node) or value(self, trace))
        yield loads


class Clock(VirtualClock):
    """A clock that stands where it was put."""

    def __init__(self):
        super().__init__(datetime(2026, 1, 1, tzinfo=UTC))

    def at(self, seconds):
        self.advance(seconds - self.now())
        return self


LINE = re.compile(r"\d+")
