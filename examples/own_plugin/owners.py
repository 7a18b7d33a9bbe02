"""Owners: who to ask about a task. A plugin in one file.

Adds a task option, ``owner``; a resource, ``phone_book``; and a section at the end of the report
that says, for each owner, how many of their nodes went well or wrong.

It is loaded by the ``flowconf.py`` beside it. It could as well be given with ``-p owners`` (its
folder on ``PYTHONPATH``), or be installed with an entry point in the group ``flowkit``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from flowkit import hookimpl, resource
from flowkit.hookspecs import Option, Section
from flowkit.reports import BAD, RunReport

PHONES = {"ana": "ext. 21", "ben": "ext. 34"}


def known_owner(name: object) -> str:
    """Return the owner, if there is one of that name."""
    if name not in PHONES:
        raise ValueError(f"nobody is called {name!r}; there are {', '.join(PHONES)}")
    return str(name)


@hookimpl
def flowkit_task_options() -> Sequence[Option]:
    """``@task(owner="ana")``."""
    return [Option(name="owner", type="a name", help="Who to ask about it.", convert=known_owner)]


@resource
def phone_book() -> dict[str, str]:
    """Owner → how to reach them."""
    return dict(PHONES)


@dataclass
class _Tally:
    well: int = 0
    wrong: list[str] = field(default_factory=list)

    def line(self, owner: str) -> str:
        trouble = f", ask {PHONES[owner]} about {', '.join(self.wrong)}" if self.wrong else ""
        return f"{owner}: {self.well} well, {len(self.wrong)} wrong{trouble}"


@hookimpl
def flowkit_report_sections(report: RunReport) -> Sequence[Section]:
    """Say what became of each owner's nodes."""
    tallies: dict[str, _Tally] = {}
    for node in report.nodes:
        owner = node.task.options.get("owner")
        if isinstance(owner, str):
            tally = tallies.setdefault(owner, _Tally())
            if node.word in BAD:
                tally.wrong.append(node.node)
            else:
                tally.well += 1
    lines = [tallies[owner].line(owner) for owner in sorted(tallies)]
    return [Section("owners", lines)] if lines else []
