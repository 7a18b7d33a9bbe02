"""The results of runs, compared: by content, node by node."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from flowkit.digests import Undigestible, digest
from flowkit.values import Handle, ValueMissing

#: Where an object lies is no content.
_ADDRESS = re.compile(r"0x[0-9a-f]+")

if TYPE_CHECKING:
    from flowkit.runs import Run
    from flowkit.scheduler import Node


def digests(run: Run) -> dict[str, str]:
    """Return node → the digest of its value, or how it ended instead.

    A value that has no content (a lock, an open file) is told by its class.
    """
    with run._modules_at_hand():  # the test's own may bear their names
        return {
            report.node: _told(run, report.unit, report.word)
            for report in run.report.nodes
            if report.task.given is None
        }


def _told(run: Run, node: Node, word: str) -> str:
    if not node.succeeded:
        error = f": {type(node.error).__name__}: {_ADDRESS.sub('', str(node.error))}" if node.error is not None else ""
        return f"{word}{error}" if error or word != "skipped" else f"skipped: {node.reason}"
    gatherer = run._runner.gatherer
    if not gatherer.at_hand(node):
        return "good, and not at hand"
    try:
        value = gatherer.value(node)
        value = value.get() if type(value) is Handle else value
        return digest(value, root=run.report.run.root)
    except (Undigestible, ValueMissing):
        return "no content"


def first_difference(one: Mapping[str, str], two: Mapping[str, str]) -> str | None:
    """Return the first node (in the order of the first run's ends) that differs, or None.

    What could not be compared is no difference.
    """
    unknown = ("no content", "good, and not at hand")
    for name, told in one.items():
        other = two.get(name, "not there")
        if told != other and told not in unknown and other not in unknown:
            return name
    return next((name for name in two if name not in one), None)
