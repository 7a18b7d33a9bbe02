"""``--junitxml FILE``: a run as CI servers read it, one test case per node.

Listens to ``flowkit_run_ended`` alone. Whatever makes the run fail is a ``failure`` or an ``error``
in the file, and nothing else is, so a server's verdict is the exit code's:

| what became of it | in the file |
| --- | --- |
| ran, same, cached | a test case that passed |
| failed, timeout | ``failure`` |
| error; a resource's teardown raised; the run was interrupted, or took too long | ``error`` |
| failed, but may (``allow_failure``), or a fallback stands in | ``skipped``, with the error as its message |
| skipped, upstream, not run | ``skipped``, with the reason |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from flowkit import documents, facts
from flowkit.hookspecs import Flag, hookimpl
from flowkit.reports import BAD, NodeReport, RunReport
from flowkit.secrets import Mask

if TYPE_CHECKING:
    from pathlib import Path
    from xml.etree.ElementTree import Element

    from flowkit.graph import BoundFlow
    from flowkit.session import Session

#: What XML 1.0 has no way to say; shown as pytest does: ``#x1B``.
_ILLEGAL = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
_STREAMS = {"system-out": ("Captured stdout", "Captured log"), "system-err": ("Captured stderr",)}
_PASSED = ("ran", "same", "cached")


@hookimpl
def flowkit_run_options() -> Sequence[Flag]:
    """Declare ``--junitxml``."""
    return (
        Flag(name="--junitxml", metavar="FILE", help="Write the run as JUnit XML, a test case per node."),
    )


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Get ready if a file is asked for."""
    path = documents.destination("--junitxml", session.flags.get("junitxml"))
    if path is not None:
        session.plugins.register(Writer(path), "junitxml:file")


class Writer:
    """Writes the file when the run is over."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @hookimpl
    def flowkit_run_ended(self, report: RunReport) -> None:
        """Write it; what cannot be written is a note of the run."""
        problem = documents.write(self._path, document(report))
        if problem:
            report.notes.append(f"--junitxml: {problem}")


def document(report: RunReport) -> str:
    """Return the run as JUnit XML."""
    from xml.etree import ElementTree as ET

    run = report.run
    root = ET.Element("testsuites", name=legal(run.flow))
    by_flow: dict[BoundFlow, list[NodeReport]] = {flow: [] for flow in run.graph.flows}
    for node in report.nodes:
        by_flow.setdefault(node.task.flow, []).append(node)
    about = {"run": run.id, "command": run.command, "executor": run.executor}
    about |= {f"param.{name}": shown for name, shown in facts.parameters(run).items()}
    for place, (flow, nodes) in enumerate(by_flow.items()):
        suite = ET.SubElement(root, "testsuite", name=legal(run.mask(flow.path)))
        suite.set("timestamp", run.started.isoformat(timespec="seconds"))
        properties = ET.SubElement(suite, "properties")
        for name, value in about.items():
            ET.SubElement(properties, "property", name=legal(name), value=legal(value))
        for node in nodes:
            _add_node(suite, node, run.mask)
        if place == 0:
            _add_troubles(suite, report)
        _count(suite)
    _count(root)
    root.set("time", f"{report.duration:.3f}")
    ET.indent(root, " ")
    body: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{body}\n'


def legal(text: str) -> str:
    """Return a text that XML can hold."""
    return re.sub(_ILLEGAL, lambda found: f"#x{ord(found[0]):02X}", facts.plain(text))


def _add_node(suite: Element, node: NodeReport, mask: Mask) -> None:
    case = _case(suite, suite.get("name", ""), mask(node.node), node.duration)
    if node.word in BAD:
        error = facts.error_of(node)
        said = mask(facts.headline(error) or node.reason)
        last = node.last
        body = mask((last.traceback if last is not None else "") or said)
        why = facts.excuse(node)
        if why:
            _judge(case, "skipped", f"{why}: {said}", body, "flowkit.allowed_failure")
        else:
            kind = type(error).__name__ if error is not None else node.word
            _judge(case, "error" if node.word == "error" else "failure", said, body, kind)
    elif node.word not in _PASSED:
        _judge(case, "skipped", mask(node.reason) or node.word, "", f"flowkit.{node.word.replace(' ', '_')}")
    for tag, titles in _STREAMS.items():
        text = "\n".join(_output(node, titles, earlier=tag == "system-out"))
        if text:
            _child(case, tag).text = legal(mask(text))


def _add_troubles(suite: Element, report: RunReport) -> None:
    """Add what went wrong with the run that is no node's."""
    mask = report.run.mask
    where = suite.get("name", "")
    for teardown in report.teardowns:
        case = _case(suite, where, f"teardown of {teardown.resource}", 0.0)
        said = mask(facts.headline(teardown.error))
        _judge(case, "error", said, mask(teardown.traceback), type(teardown.error).__name__)
    cut = "interrupted" if report.interrupted else report.stopped
    if cut and (report.interrupted or cut.startswith("the run took")):
        _judge(_case(suite, where, "the run", 0.0), "error", mask(cut), "", "flowkit.stopped")


def _output(node: NodeReport, titles: Iterable[str], *, earlier: bool) -> Iterable[str]:
    """Yield what the attempts printed; with ``earlier``, also how those ended that were made again."""
    several = len(node.attempts) > 1
    for attempt in node.attempts:
        found = [s for s in attempt.sections or () if s.title in titles and s.lines]
        if several and (found or earlier):
            how = f", {facts.headline(attempt.error)}" if earlier and attempt.error is not None else ""
            yield f"--- attempt {attempt.number}{how} ---"
        for section in found:
            yield from section.lines


def _case(suite: Element, classname: str, name: str, seconds: float) -> Element:
    case = _child(suite, "testcase")
    case.attrib |= {"classname": classname, "name": legal(name), "time": f"{seconds:.3f}"}
    return case


def _judge(case: Element, tag: str, message: str, body: str, kind: str) -> None:
    verdict = _child(case, tag)
    verdict.attrib |= {"message": legal(message), "type": legal(kind)}
    if body:
        verdict.text = legal(body)


def _child(parent: Element, tag: str) -> Element:
    child = parent.makeelement(tag, {})
    parent.append(child)
    return child


def _count(element: Element) -> None:
    """Write down how many test cases there are below, and what became of them."""
    cases = list(element.iter("testcase"))
    tags = [child.tag for case in cases for child in case]
    element.set("tests", str(len(cases)))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(tags.count(tag)))
    element.set("time", f"{sum(float(case.get('time', 0)) for case in cases):.3f}")
