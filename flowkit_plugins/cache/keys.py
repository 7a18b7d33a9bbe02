"""The key of a node: a hash over its task's name and code, and the content of all it is called with.

Module path, element id, retries, tags, limits and executor stay out of it. Each part has a name,
so that a changed key can be explained.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowkit.digests import Digest, FileFact, Undigestible, small
from flowkit.graph import Axis, BoundResource, BoundTask, Edge
from flowkit.inputs import Inputs
from flowkit.scheduler import Node, State
from flowkit_plugins.cache.fingerprint import BODY, Fingerprint, Fingerprinter, Part
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
        hexed: The hash of its function's code, with that of the resources it asks for.
        fixed: Everything that does not depend on the node, as one text.
        shown: Argument → (digest, how it looks) of its parameters, and of its resources'.
        said: Option → how it looks, of those that count.
        files: Argument → the files that its value stands for.
        simple: The key is the same for all nodes (there is one).
        unsure: Some argument has no content, so that equal keys do not mean equal inputs.
        made: The fingerprint behind ``hexed``; None of a plain function, until it is asked for.
    """

    policy: Cache | None
    never: str
    hexed: str
    fixed: str
    shown: dict[str, tuple[str, str]]
    simple: bool
    unsure: bool = False
    made: Fingerprint | None = None
    said: dict[str, str] = field(default_factory=dict)
    files: dict[str, tuple[FileFact, ...]] = field(default_factory=dict)
    prefix: Any = None
    """A hash object fed with ``fixed``, once it was asked for."""
    stored: str = ""
    """What :func:`stored_parts` begins with, once it was asked for."""


Elements = Mapping[str | None, tuple[Sequence[str], Sequence[str]]]
_NO_PARTS: Mapping[str, str] = {}
_NO_ELEMENTS: Elements = {}


class Known:
    """What is known of a node's result, without it. There is one for each element of a run.

    Attributes:
        digest: Its content, or for what has none its key.
        key: The node's key; empty if it has none.
        parts: Provided name → digest.
        elements: Part → (ids, digests), where it is the source of an axis.
    """

    __slots__ = ("digest", "elements", "key", "parts")

    def __init__(
        self,
        digest: str,
        key: str = "",
        parts: Mapping[str, str] = _NO_PARTS,
        elements: Elements = _NO_ELEMENTS,
    ) -> None:
        self.digest = digest
        self.key = key
        self.parts = parts
        self.elements = elements


class Keys:
    """Makes keys. One per run; used under the run's lock alone.

    Args:
        fingerprinter: For code.
        digest: Returns the digest of a value's content (files included); raises ``Undigestible``.
        environment: Counted in every key; ``""`` for nothing.
    """

    def __init__(
        self, fingerprinter: Fingerprinter, digest: Callable[[object], Digest], environment: str = ""
    ) -> None:
        self._fingerprinter = fingerprinter
        self._digest = digest
        self._environment = environment
        self.known: dict[Node, Known] = {}
        self._plans: dict[BoundTask, TaskPlan] = {}
        self._resources: dict[BoundResource, _Counted] = {}

    def _content(self, value: object) -> str:
        return small(value) or self._digest(value).hex

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
        function = task.declaration.function
        hexed = self._fingerprinter.plain(function)
        code = None
        if hexed is None:
            code = self._fingerprinter.fingerprint(function)
            hexed = code.hex
        never = ""
        if policy is None:
            never = "cache=False"
        elif task.resources and asks_for_run(task.resources) and "cache" not in task.declaration.options:
            never = "it asks for `run`"
        version = options.get("version")
        texts = [VERSION, task.name, hexed, self._environment, str(version)]
        plan = TaskPlan(policy, never, hexed, "", {}, not task.edges and not task.elements)
        plan.made = code
        if version is not None:
            plan.said["version"] = str(version)
        if self._environment:
            plan.said["environment"] = self._environment
        if policy is not None:
            if policy.salt is not None:
                plan.said["salt"] = self._content(policy.salt)
                texts.append(plan.said["salt"])
            if policy.key is not None:
                plan.simple = False
        if task.constants:
            self._add_parameters(plan, task, texts)
        if task.resources:
            self._add_resources(plan, task, texts)
        plan.fixed = "\0".join(texts)
        return plan

    def _add_parameters(self, plan: TaskPlan, task: BoundTask, texts: list[str]) -> None:
        count = plan.policy is None or plan.policy.key is None
        for argument in sorted(task.constants):
            value = task.constants[argument]
            try:
                found = small(value)
                if found is None:
                    facts = self._digest(value)
                    found = facts.hex
                    if facts.files:
                        plan.files[argument] = facts.files
            except Undigestible as error:
                plan.never = plan.never or f"argument {argument!r} has no content: {error}"
                plan.unsure = True
                found = "?"
            plan.shown[argument] = (found, looks(value))
            if count:
                texts.append(f"{argument}=v:{found}")

    def _add_resources(self, plan: TaskPlan, task: BoundTask, texts: list[str]) -> None:
        """Count resources, and show their code and parameters as if they were the task's own."""
        codes, parts = [plan.hexed], dict(self.code(task, plan).parts)
        for argument, resource in sorted(task.resources.items()):
            if silent(resource):
                continue
            counted = self._resource(resource)
            texts.append(f"{argument}=R:{counted.hexed}")
            codes.append(counted.code)
            for name, part in counted.parts.items():
                parts.setdefault(name if parts.get(name, part) == part else f"{name} ({resource.name})", part)
            for name, shown in counted.shown.items():
                plan.shown.setdefault(name, shown)
            for name, files in counted.files.items():
                plan.files.setdefault(name, files)
        if len(codes) > 1:
            plan.hexed = hashed(*codes)
            plan.made = Fingerprint(plan.hexed, parts)

    def _resource(self, resource: BoundResource) -> _Counted:
        """Return what a resource counts by: its code, its parameters, and the resources it asks for."""
        found = self._resources.get(resource)
        if found is not None:
            return found
        code = self._fingerprinter.fingerprint(resource.declaration.function)
        texts, codes = [code.hex], [code.hex]
        counted = _Counted()
        for name, part in code.parts.items():
            counted.parts[f"resource {resource.name}" if name == BODY else name] = part
        for argument in sorted(resource.constants):
            value = resource.constants[argument]
            try:
                facts = self._digest(value)
                hexed = facts.hex
                if facts.files:
                    counted.files[argument] = facts.files
            except Undigestible:
                hexed = "?"
            counted.shown[argument] = (hexed, looks(value))
            texts.append(f"{argument}={hexed}")
        for argument, below in sorted(resource.resources.items()):
            inner = self._resource(below)
            texts.append(f"{argument}={inner.hexed}")
            codes.append(inner.code)
            counted.parts.update(inner.parts)
            counted.shown.update(inner.shown)
            counted.files.update(inner.files)
        counted.hexed, counted.code = hashed(*texts), hashed(*codes)
        self._resources[resource] = counted
        return counted

    def code(self, task: BoundTask, plan: TaskPlan) -> Fingerprint:
        """Return the fingerprint of a task's code, its resources' included."""
        if plan.made is None:
            assert task.declaration is not None  # else it has no plan
            plan.made = self._fingerprinter.fingerprint(task.declaration.function)
        return plan.made

    def code_parts(self, task: BoundTask) -> dict[str, Part]:
        """Return all pieces of code that count for a task, its resources' included."""
        return dict(self.code(task, self.plan(task)).parts)

    def key(self, node: Node, inputs: Inputs, plan: TaskPlan) -> tuple[str, dict[str, str]]:
        """Return a node's key, and what each argument from above counted as.

        Raises:
            Uncertain: An argument cannot be counted: the node runs.
        """
        if plan.simple:
            return hashed(plan.fixed), {}
        counted: dict[str, str] = {}
        if plan.policy is not None and plan.policy.key is not None:
            counted["key"] = self._own_key(plan.policy, inputs)
        else:
            for edge, nodes in inputs.edges:
                if edge.argument is not None:
                    counted[edge.argument] = self._argument(edge, nodes, inputs)
            for element, source, index in inputs.elements:
                counted["+".join(element.arguments)] = self.element(element.axis, source, index, inputs)
        if plan.prefix is None:
            plan.prefix = hashlib.sha256(plan.fixed.encode("utf-8", "surrogatepass"))
        state = plan.prefix.copy()
        state.update("".join([f"\0{name}={counted[name]}" for name in sorted(counted)]).encode())
        return state.hexdigest()[:40], counted

    def _own_key(self, policy: Cache, inputs: Inputs) -> str:
        function = policy.key
        assert function is not None  # the caller looked
        arguments = inputs.arguments()
        if arguments is None:
            raise Uncertain("its key needs a value that is not at hand")
        try:
            return f"k:{self._content(function(**policy.for_key(arguments)))}"
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
            return f"F:{hashed(*_error(node))}"
        return f"K:{hashed(node.reason, *[text for root in node.roots for text in _error(root)])}"

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


@dataclass(slots=True)
class _Counted:
    """What a resource counts by: all of it and its code, hashed; and what to show of that."""

    hexed: str = ""
    code: str = ""
    parts: dict[str, Part] = field(default_factory=dict)
    shown: dict[str, tuple[str, str]] = field(default_factory=dict)
    files: dict[str, tuple[FileFact, ...]] = field(default_factory=dict)


def silent(resource: BoundResource) -> bool:
    """Whether a resource is flowkit's own and says nothing about a result."""
    return resource.name in SILENT and resource.plugin is not None


def asks_for_run(resources: Mapping[str, BoundResource]) -> bool:
    """Whether flowkit's ``run`` is among some resources, or among those that they ask for."""
    return any(
        (r.name == "run" and r.plugin is not None) or asks_for_run(r.resources)
        for r in resources.values()
    )


def _error(node: Node) -> tuple[str, str, str]:
    kind = type(node.error)
    return kind.__module__, kind.__qualname__, text_of(node.error)


def text_of(error: BaseException | None) -> str:
    """Return an exception's message; its class where making it raises."""
    try:
        return str(error)
    except Exception:
        return type(error).__name__


def looks(value: object) -> str:
    """Return how a parameter looks in a reason; at most 60 characters, and never a secret."""
    try:
        text = str(value)
        if isinstance(value, str) and (not text.isprintable() or text.strip() != text or not text):
            text = repr(value)
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
    if not plan.stored:
        plan.stored = _fixed_parts(plan)
    # Names are identifiers and digests hexadecimal: nothing in them needs quoting, and the
    # encoder would take as long as storing the whole result.
    up = ",".join([f'"{name}":"{digest}"' for name, digest in counted.items()])
    return f'{plan.stored},"up":{{{up}}}}}'


def _fixed_parts(plan: TaskPlan) -> str:
    """Return what all nodes of a task have in common, as JSON without its end."""
    parts: dict[str, object] = {"code": plan.hexed, "fixed": plan.shown}
    if plan.said:
        parts["said"] = plan.said
    if plan.files:
        parts["files"] = {name: {f.path: f.digest for f in facts} for name, facts in plan.files.items()}
    if len(parts) == 2 and not plan.shown:
        return f'{{"code":"{plan.hexed}","fixed":{{}}'
    return json.dumps(parts, separators=(",", ":"))[:-1]
