"""The key of a node: a hash over its task's name and code, and the content of all it is called with.

Module path, element id, retries, tags, limits and executor stay out of it. Each part has a name,
so that a changed key can be explained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence

from flowkit.annotations import PLAIN
from flowkit.digests import Digest, Undigestible, small
from flowkit.graph import Axis, BoundResource, BoundTask, Edge
from flowkit.inputs import Inputs
from flowkit.scheduler import Node, State
from flowkit.secrets import Mask
from flowkit_plugins.cache.asking import Uncertain, arguments
from flowkit_plugins.cache.besides import Besides
from flowkit_plugins.cache.fingerprint import BODY, Fingerprint, Fingerprinter, Part
from flowkit_plugins.cache.known import Known
from flowkit_plugins.cache.plans import Counted, TaskPlan, asks_for_run, hashed, looks, silent
from flowkit_plugins.cache.policy import Cache
from flowkit_plugins.cache.traces import Trace

VERSION = "flowkit-key/1"

_NOT_MISSED: tuple[str | None, str] = (None, "")
#: How an upstream ended where a failure is the cause; NOT_RUN, as the run stopped after one.
_FAILURES = (State.FAILED, State.UPSTREAM, State.NOT_RUN)


class Keys:
    """Makes keys. One per run; used under the run's lock alone.

    Args:
        fingerprinter: For code.
        digest: Returns the digest of a value's content (files included); raises ``Undigestible``.
        environment: Counted in every key; ``""`` for nothing.
        mask: Takes secrets out of how parameters look.
        besides: Notes what counts of values besides what they say.
        load: Whether values may be loaded for a task's own ``key``.
    """

    def __init__(
        self,
        fingerprinter: Fingerprinter,
        digest: Callable[[object], Digest],
        environment: str = "",
        mask: Mask = str,
        *,
        besides: Besides,
        load: bool = True,
    ) -> None:
        self.load = load
        self._fingerprinter = fingerprinter
        self._digest = digest
        self._environment = environment
        self.mask = mask
        self.besides = besides
        self.known: dict[Node, Known] = {}
        #: What was found before anything started. Few are asked for again, so nothing is made of them.
        self.ahead: dict[Node, Trace] = {}
        self._plans: dict[BoundTask, TaskPlan] = {}
        #: The hash of the code that :meth:`plain` was asked for last; and of what it made for nothing, with the key.
        self._hexed: str | None = None
        self._missed: dict[BoundTask, tuple[str | None, str]] = {}
        #: By identity, as tasks without options share theirs; with these, so that it stays taken.
        self._tails: dict[int, tuple[Mapping[str, object], str | None]] = {}
        self._usual: tuple[Mapping[str, object] | None, str | None] = (None, None)
        self._resources: dict[BoundResource, Counted] = {}

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
        hexed, key = self._missed.pop(task, _NOT_MISSED)
        code = None
        if hexed is None:
            hexed = self._fingerprinter.plain(function)
        if hexed is None:
            code = self._fingerprinter.fingerprint(function, name=task.declaration.name)
            hexed = code.hex
        never = ""
        if policy is None:
            never = "cache=False"
        elif task.resources and asks_for_run(task.resources) and "cache" not in task.declaration.options:
            never = "it asks for `run`"
        version = options.get("version")
        texts = [VERSION, task.declaration.name, hexed, self._environment, str(version)]
        plan = TaskPlan(policy, never, hexed, simple=not task.edges and not task.elements)
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
        plan.key = key
        return plan

    def _add_parameters(self, plan: TaskPlan, task: BoundTask, texts: list[str]) -> None:
        count = plan.policy is None or plan.policy.key is None
        for argument in sorted(task.constants):
            found, problem = self._parameter(task.parameters.get(argument, argument), task.constants[argument], plan)
            if problem is not None:
                plan.never = plan.never or f"argument {argument!r} has no content: {problem}"
                plan.unsure = True
            if count:
                texts.append(f"{argument}=v:{found}")

    def _parameter(self, name: str, value: object, into: TaskPlan | Counted) -> tuple[str, Undigestible | None]:
        """Return what a parameter counts as, or ``"?"`` and why it has no content; note how it is to be shown."""
        found, problem = small(value) or "?", None
        if found == "?":
            try:
                facts = self._digest(value)
                found = facts.hex
                if facts.files:
                    into.files[name] = facts.files
                if facts.files or facts.codes:
                    self.besides.note(facts, into.besides.setdefault(name, {}))
            except Undigestible as error:
                problem = error
        into.shown[name] = (found, *looks(value, self.mask))
        return found, problem

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
            for name, beside in counted.besides.items():
                plan.besides.setdefault(name, beside)
        if len(codes) > 1:
            plan.hexed = hashed(*codes)
            plan.made = Fingerprint(plan.hexed, parts)

    def _resource(self, resource: BoundResource) -> Counted:
        """Return what a resource counts by: its code, its parameters, and the resources it asks for."""
        found = self._resources.get(resource)
        if found is not None:
            return found
        code = self._fingerprinter.fingerprint(resource.declaration.function, name=resource.declaration.name)
        texts, codes = [code.hex], [code.hex]
        counted = Counted()
        for name, part in code.parts.items():
            counted.parts[f"resource {resource.name}" if name == BODY else name] = part
        for argument in sorted(resource.constants):
            name = resource.parameters.get(argument, argument)
            texts.append(f"{argument}={self._parameter(name, resource.constants[argument], counted)[0]}")
        for argument, below in sorted(resource.resources.items()):
            inner = self._resource(below)
            texts.append(f"{argument}={inner.hexed}")
            codes.append(inner.code)
            counted.parts.update(inner.parts)
            counted.shown.update(inner.shown)
            counted.files.update(inner.files)
            counted.besides.update(inner.besides)
        counted.hexed, counted.code = hashed(*texts), hashed(*codes)
        self._resources[resource] = counted
        return counted

    def code(self, task: BoundTask, plan: TaskPlan) -> Fingerprint:
        """Return the fingerprint of a task's code, its resources' included."""
        if plan.made is None:
            assert task.declaration is not None  # else it has no plan
            plan.made = self._fingerprinter.fingerprint(task.declaration.function, name=task.declaration.name)
        return plan.made

    def code_parts(self, task: BoundTask) -> dict[str, Part]:
        """Return all pieces of code that count for a task, its resources' included."""
        return dict(self.code(task, self.plan(task)).parts)

    def key(self, node: Node, inputs: Inputs, plan: TaskPlan) -> tuple[str, dict[str, str]]:
        """Return a node's key, and what each argument from above counted as; with what counts of elements besides.

        Raises:
            Uncertain: An argument cannot be counted, or something above failed: the node runs.
        """
        if plan.simple:
            if not plan.key:
                plan.key = hashed(plan.fixed)
            return plan.key, {}
        counted: dict[str, str] = {}
        besides: dict[str, str] = {}
        if plan.policy is not None and plan.policy.key is not None:
            for edge, nodes in inputs.edges:
                _refuse_failures(edge, nodes)
            counted["key"] = self._own_key(plan.policy, inputs)
            self.besides.note_called(plan.policy.key, besides)
        else:
            for edge, nodes in inputs.edges:
                if edge.argument is None:
                    _refuse_failures(edge, nodes)
                    continue
                known = self.known.get(nodes[0]) if edge.accepts.value and edge.part is None and not edge.collected else None
                if known is not None and nodes[0].succeeded and nodes[0].stand_in is None:  # as nearly all are
                    counted[edge.argument] = f"v:{known.digest}"
                else:
                    counted[edge.argument] = self._argument(edge, nodes, inputs)
            for element, source, index in inputs.elements:
                counted["+".join(element.arguments)] = self.element(element.axis, source, index, inputs, besides)
        if plan.prefix is None:
            plan.prefix = hashlib.sha256(plan.fixed.encode("utf-8", "surrogatepass"))
        state = plan.prefix.copy()
        state.update("".join([f"\0{name}={counted[name]}" for name in sorted(counted)]).encode())
        if besides:
            counted.update(besides)
        return state.hexdigest()[:40], counted

    def plain(self, task: BoundTask, digests: Mapping[BoundTask, str]) -> str | None:
        """Return the key of a task that takes nothing but values of others, as :meth:`key` makes it, without a plan.

        Args:
            task: A task that is not mapped.
            digests: The content of what its upstreams gave.

        Returns:
            The key, or None if more than code and values counts.
        """
        if task.constants or task.resources:
            return None
        options = task.options
        tail = self._usual[1] if options is self._usual[0] else self._tail(options)
        if tail is None:
            return None
        assert task.declaration is not None  # a given value has no key
        function = task.declaration.function
        hexed = self._hexed = self._fingerprinter.plain(function)
        if hexed is None:
            hexed = self._fingerprinter.fingerprint(function, name=task.declaration.name).hex
        text = f"{VERSION}\0{task.declaration.name}\0{hexed}\0{tail}"
        if task.edges:
            counted: list[tuple[str, str]] = []
            for edge in task.edges:
                if edge.argument is not None:
                    if edge.accepts is not PLAIN or edge.collected or edge.part is not None:
                        return None
                    counted.append((edge.argument, digests[edge.source]))
            counted.sort()
            text += "".join([f"\0{name}=v:{digest}" for name, digest in counted])
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]

    def missed(self, task: BoundTask, key: str) -> None:
        """Note that there is nothing under the key that :meth:`plain` has just made: it is asked for again soon."""
        self._missed[task] = (self._hexed, key)

    def _tail(self, options: Mapping[str, object]) -> str | None:
        """Return how the fixed part of a key ends, by a task's options; None if they say more than a key can."""
        known = self._tails.get(id(options))
        if known is None:
            policy: Cache | None = options.get("cache")  # type: ignore[assignment]  # the option converts
            tail = None
            if policy is not None and policy.ttl is None and policy.key is None and policy.valid is None:
                salt = () if policy.salt is None else (self._content(policy.salt),)
                tail = "\0".join([self._environment, str(options.get("version")), *salt])
            known = self._tails[id(options)] = (options, tail)
        self._usual = known
        return known[1]

    def _own_key(self, policy: Cache, inputs: Inputs) -> str:
        function = policy.key
        assert function is not None  # the caller looked
        found = arguments("key", function, inputs, load=self.load)
        try:
            return f"k:{self._content(function(**found))}"
        except Exception as error:
            raise Uncertain(f"its key could not be made: {type(error).__name__}: {error}") from error

    def _argument(self, edge: Edge, nodes: Sequence[Node], inputs: Inputs) -> str:
        if edge.collected:
            texts = [f"{name}\0{self._outcome(edge, node, inputs)}" for name, node in inputs.gathered(edge, nodes)]
            return f"C:{hashed(*texts)}" if texts else "C:"
        _refuse_failures(edge, nodes)
        return self._outcome(edge, nodes[0], inputs)

    def _outcome(self, edge: Edge, node: Node, inputs: Inputs) -> str:
        """Return what an upstream's outcome counts as: a value by content, others by kind and content."""
        if node.succeeded or (not node.settled and node in self.ahead):  # the second: before anything started
            found = self.of(node, inputs)
            content = found.parts.get(edge.part, found.digest) if edge.part is not None else found.digest
            return f"v:{content}" if edge.accepts.value else f"S:{content}"
        if node.state is State.FAILED:
            return f"F:{hashed(*_error(node))}"
        return f"K:{hashed(node.content, *[text for root in node.roots for text in _error(root)])}"

    def reused(self, node: Node) -> Known | None:
        """Return what is known of a node's own result, if anything is."""
        found = self.known.get(node)
        if found is None:
            trace = self.ahead.get(node)
            if trace is not None:
                found = self.known[node] = Known(trace.digest, trace.key)
        return found

    def of(self, node: Node, inputs: Inputs) -> Known:
        """Return what is known of an upstream's result; a given value is looked at."""
        if node.stand_in is not None:
            node = node.stand_in
        found = self.reused(node)
        if found is None:
            try:
                found = Known(self._content(inputs.value(node)))
            except Undigestible as error:
                raise Uncertain(f"`{node.id}` has no content: {error}") from error
            self.known[node] = found
        return found

    def element(self, axis: Axis, source: Node, index: int, inputs: Inputs, besides: dict[str, str]) -> str:
        """Return what one element of a list counts as; note what counts besides of one that no task gave."""
        found = self.of(source, inputs)
        listed = found.elements.get(axis.part)
        if listed is not None:
            return f"v:{listed[1][index]}"
        value = inputs.element(axis, source, index)
        try:
            quick = small(value)
            if quick is not None:
                return f"v:{quick}"
            facts = self._digest(value)
            self.besides.note(facts, besides)
            return f"v:{facts.hex}"
        except Undigestible:
            return f"v:{found.digest}[{index}]"


def _refuse_failures(edge: Edge, nodes: Sequence[Node]) -> None:
    """Refuse to make a key for a node that runs although something above it failed: else it would be silent the next time.

    A collection is taken for what it holds (ruling D4).
    """
    if edge.collected:
        return
    for node in nodes:
        if node.state in _FAILURES and not node.succeeded:
            raise Uncertain("it comes after a failure" if edge.argument is None else "it received a failure")


def _error(node: Node) -> tuple[str, str, str]:
    kind = type(node.error)
    return kind.__module__, kind.__qualname__, text_of(node.error)


def text_of(error: BaseException | None) -> str:
    """Return an exception's message; its class where making it raises."""
    try:
        return str(error)
    except Exception:
        return type(error).__name__
