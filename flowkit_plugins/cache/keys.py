"""The key of a node: a hash over its task's name and code, and the content of all it is called with.

Module path, element id, retries, tags, limits and executor stay out of it. Each part has a name,
so that a changed key can be explained.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowkit.digests import Undigestible, small
from flowkit.graph import Axis, BoundResource, BoundTask, Edge
from flowkit.inputs import Inputs
from flowkit.scheduler import Node, State
from flowkit_plugins.cache.fingerprint import Fingerprint, Fingerprinter, Part
from flowkit_plugins.cache.policy import Cache

VERSION = "flowkit-key/1"

#: Resources of flowkit's own that say nothing about a result.
SILENT = frozenset({"log", "tmp_path", "out", "rng"})


class Uncertain(Exception):
    """The key cannot be made: the reason says why the node has to run."""


def hashed(*parts: str) -> str:
    """Return 40 hex digits that name a sequence of texts."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:40]


@dataclass(slots=True, eq=False)
class TaskPlan:
    """What of a key is the same for all nodes of a task.

    Attributes:
        policy: Its ``cache=``; None if it is off.
        never: Why it is never reused, or ``""``.
        code: The fingerprint of its function.
        fixed: Everything that does not depend on the node, as one text.
        shown: Argument → (digest, how it looks) of its parameters.
        prefix: A hash object fed with ``fixed``.
        simple: The key is the same for all nodes (there is one).
        unsure: Some argument has no content, so that equal keys do not mean equal inputs.
    """

    policy: Cache | None
    never: str
    code: Fingerprint
    fixed: str
    shown: dict[str, tuple[str, str]]
    prefix: Any
    simple: bool
    unsure: bool = False


@dataclass(slots=True)
class Known:
    """What is known of a node's result, without it.

    Attributes:
        digest: Its content, or for what has none its key.
        parts: Provided name → digest.
        elements: Part → (ids, digests), where it is the source of an axis.
    """

    digest: str
    parts: dict[str, str] = field(default_factory=dict)
    elements: dict[str | None, tuple[Sequence[str], Sequence[str]]] = field(default_factory=dict)


class Keys:
    """Makes keys. One per run; used under the run's lock alone.

    Args:
        fingerprinter: For code.
        content: Returns the digest of a value's content (files included); raises ``Undigestible``.
        environment: Counted in every key; ``""`` for nothing.
    """

    def __init__(
        self, fingerprinter: Fingerprinter, content: Callable[[object], str], environment: str = ""
    ) -> None:
        self._fingerprinter = fingerprinter
        self._content = content
        self._environment = environment
        self.known: dict[Node, Known] = {}
        self._plans: dict[BoundTask, TaskPlan] = {}
        self._resources: dict[BoundResource, tuple[str, dict[str, Part]]] = {}

    def plan(self, task: BoundTask) -> TaskPlan:
        """Return what is the same for all nodes of a task."""
        found = self._plans.get(task)
        if found is None:
            found = self._plans[task] = self._make_plan(task)
        return found

    def _make_plan(self, task: BoundTask) -> TaskPlan:
        options = task.options
        policy: Cache | None = options.get("cache")  # type: ignore[assignment]  # the option converts
        assert task.declaration is not None  # a given value has no key
        code = self._fingerprinter.fingerprint(task.declaration.function)
        never = ""
        if policy is None:
            never = "cache=False"
        elif "run" in (r.name for r in task.resources.values()) and "cache" not in task.declaration.options:
            never = "it asks for `run`"
        shown: dict[str, tuple[str, str]] = {}
        texts = [VERSION, task.name, code.hex, self._environment, str(options.get("version"))]
        if policy is not None and policy.salt is not None:
            texts.append(self._content(policy.salt))
        for argument in sorted(task.constants):
            try:
                found = self._content(task.constants[argument])
            except Undigestible as error:
                never = never or f"argument {argument!r} has no content: {error}"
                found = "?"
            shown[argument] = (found, looks(task.constants[argument]))
            if policy is None or policy.key is None:
                texts.append(f"{argument}=v:{found}")
        for argument, resource in sorted(task.resources.items()):
            if resource.name in SILENT and resource.plugin is not None:
                continue
            texts.append(f"{argument}=R:{self._resource(resource)[0]}")
        fixed = "\0".join(texts)
        prefix = hashlib.sha256(fixed.encode("utf-8", "surrogatepass"))
        simple = not task.edges and not task.elements and (policy is None or policy.key is None)
        unsure = any(found == "?" for found, _ in shown.values())
        return TaskPlan(policy, never, code, fixed, shown, prefix, simple, unsure)

    def _resource(self, resource: BoundResource) -> tuple[str, dict[str, Part]]:
        """Return what a resource counts by: its code, its parameters, and the resources it asks for."""
        found = self._resources.get(resource)
        if found is None:
            code = self._fingerprinter.fingerprint(resource.declaration.function)
            texts = [code.hex]
            parts = {f"resource {resource.name}": part for name, part in code.parts.items() if name == "<task>"}
            parts.update({name: part for name, part in code.parts.items() if name != "<task>"})
            for argument in sorted(resource.constants):
                try:
                    texts.append(f"{argument}={self._content(resource.constants[argument])}")
                except Undigestible:
                    texts.append(f"{argument}=?")
            for argument, below in sorted(resource.resources.items()):
                inner = self._resource(below)
                texts.append(f"{argument}={inner[0]}")
                parts.update(inner[1])
            found = self._resources[resource] = (hashed(*texts), parts)
        return found

    def code_parts(self, task: BoundTask) -> dict[str, Part]:
        """Return all pieces of code that count for a task, its resources' included."""
        parts = dict(self.plan(task).code.parts)
        for resource in task.resources.values():
            if not (resource.name in SILENT and resource.plugin is not None):
                parts.update(self._resource(resource)[1])
        return parts

    def key(self, node: Node, inputs: Inputs, plan: TaskPlan) -> tuple[str, dict[str, str]]:
        """Return a node's key, and what each argument from above counted as.

        Raises:
            Uncertain: An argument cannot be counted: the node runs.
        """
        if plan.simple:
            return plan.prefix.hexdigest()[:40], {}
        counted: dict[str, str] = {}
        state = plan.prefix.copy()
        if plan.policy is not None and plan.policy.key is not None:
            counted["key"] = self._own_key(plan.policy.key, node, inputs)
        else:
            for edge, nodes in inputs.edges:
                if edge.argument is not None:
                    counted[edge.argument] = self._argument(edge, nodes, inputs)
            for element, source, index in inputs.elements:
                counted["+".join(element.arguments)] = self.element(element.axis, source, index, inputs)
        state.update("".join([f"\0{name}={counted[name]}" for name in sorted(counted)]).encode())
        return state.hexdigest()[:40], counted

    def _own_key(self, function: Callable[..., object], node: Node, inputs: Inputs) -> str:
        arguments = inputs.arguments()
        if arguments is None:
            raise Uncertain("its key needs a value that is not at hand")
        wanted = [a.name for a in node.task.arguments if a.name in arguments]
        try:
            return f"k:{self._content(function(**{name: arguments[name] for name in wanted}))}"
        except Exception as error:
            raise Uncertain(f"its key could not be made: {type(error).__name__}: {error}") from error

    def _argument(self, edge: Edge, nodes: Sequence[Node], inputs: Inputs) -> str:
        if edge.collected:
            texts = [f"{name}\0{self._outcome(edge, node, inputs, gathered=True)}" for name, node in inputs.gathered(edge, nodes)]  # fmt: skip
            return f"C:{hashed(*texts)}" if texts else "C:"
        return self._outcome(edge, nodes[0], inputs, gathered=False)

    def _outcome(self, edge: Edge, node: Node, inputs: Inputs, *, gathered: bool) -> str:
        """Return what an upstream's outcome counts as: a value by content, others by kind and content."""
        if node.succeeded:
            found = self.of(node, inputs)
            content = found.parts.get(edge.part, found.digest) if edge.part is not None else found.digest
            return f"v:{content}" if edge.accepts.value else f"S:{content}"
        if node.state is State.FAILED:
            if not gathered:
                raise Uncertain("it received a failure")
            error = node.error
            kind = type(error)
            return f"F:{hashed(kind.__module__, kind.__qualname__, text_of(error))}"
        return "K"

    def of(self, node: Node, inputs: Inputs) -> Known:
        """Return what is known of an upstream's result; a given value is looked at."""
        if node.stand_in is not None:
            node = node.stand_in
        found = self.known.get(node)
        if found is None:
            try:
                found = Known(self._content(inputs.value(node)))
            except Undigestible as error:
                raise Uncertain(f"`{node.id}` has no content: {error}") from error
            self.known[node] = found
        return found

    def element(self, axis: Axis, source: Node, index: int, inputs: Inputs) -> str:
        """Return what one element of a list counts as."""
        found = self.of(source, inputs)
        listed = found.elements.get(axis.part)
        if listed is not None:
            return f"v:{listed[1][index]}"
        value = inputs.element(axis, source, index)
        try:
            return f"v:{small(value) or self._content(value)}"
        except Undigestible:
            return f"v:{found.digest}[{index}]"


def text_of(error: BaseException | None) -> str:
    """Return an exception's message; its class where making it raises."""
    try:
        return str(error)
    except Exception:
        return type(error).__name__


def looks(value: object) -> str:
    """Return how a parameter looks in a reason; at most 60 characters, and never a secret."""
    try:
        text = str(value) if not isinstance(value, str) else repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 60 else text[:59] + "…"


def environment() -> str:
    """Return Python's version and those of the installed distributions, as one hash."""
    from importlib import metadata

    names = sorted({f"{d.metadata['Name']}=={d.version}" for d in metadata.distributions()})
    return hashed(sys.version, *names)


def stored_parts(plan: TaskPlan, counted: dict[str, str]) -> str:
    """Return the parts of a key as JSON, for the explanation of the next one."""
    return json.dumps({"code": plan.code.hex, "fixed": plan.shown, "up": counted}, separators=(",", ":"))
