"""Argument names → providers. The nearest wins; errors name the nearest name.

For each argument: ``From``, then an override, then a task or resource visible from the flow's
module (its own, then each ``flowconf.py`` upwards, then the plugins'), else a parameter.
A look-up is relative to the flow that is run; a definition that asks for its own name gets the
one that it overrides.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, GenericAlias
from typing import Any, TypeVar

from flowkit.annotations import MISSING, Wants
from flowkit.binding import (
    Binder,
    check_literal,
    check_stand_in,
    given_value,
    inherited_elements,
    providing,
)
from flowkit.collector import CollectedFlow, is_resource
from flowkit.declarations import (
    ASYNC_GENERATOR,
    GENERATOR,
    VARARGS,
    VARKEYWORDS,
    Argument,
    Declaration,
)
from flowkit.errors import (
    DeclarationError,
    OptionError,
    ResolutionError,
    UsageError,
    did_you_mean,
    listing,
)
from flowkit.graph import Axis, BoundTask, Edge, Element
from flowkit.lookup import Found, Override, Surroundings
from flowkit.options import (
    CORE_OPTIONS,
    flag_of,
    names_of,
    no_argument,
    trigger_of,
)
from flowkit.tasks import Task

T = TypeVar("T")

_REFUSED = GENERATOR | ASYNC_GENERATOR | VARARGS | VARKEYWORDS  # of a task's flags


class Resolver(Binder):
    """Binds the tasks of one flow.

    Args:
        collected: The flow's module and the layers above it.
        around: What is the same for every flow.
        first: The definition order of its first task.
    """

    def __init__(self, collected: CollectedFlow, around: Surroundings, first: int = 0) -> None:
        super().__init__(collected, around)
        self.tasks: list[BoundTask] = []  #: in definition order
        self._entered: dict[int, dict[str, BoundTask]] = {i: {} for i in range(-1, len(self.layers))}
        self._order = first
        self._queue: list[tuple[BoundTask, Declaration, int]] = []
        self._tasks_by_name: dict[str, BoundTask] = {}  #: names that were found to be plain tasks, whoever asks
        self._says_more = any(name in self._defaults for name in ("allow_failure", "tags", "trigger"))
        self._stand_ins: list[tuple[BoundTask, BoundTask]] = []
        self._standing: dict[BoundTask, Override] = {}

    def bind(self) -> list[BoundTask]:
        """Bind every task the flow's module defines or imports, and what those need."""
        nearest, overrides = self.layers[0], self.around.overrides
        resources = {n: d for n, d in nearest.names.items() if type(d) is not Task and is_resource(d)}
        own = [n for n in nearest.own if n not in resources] if resources else nearest.own
        names = [n for n in nearest.names if n not in resources] if resources else list(nearest.names)
        targets = self._tasks_of_module(own or names)
        for declaration in resources.values():
            self._try(self._resource, declaration, 0, ())
        tasks = targets if own == names else self._tasks_of_module(names)
        self._tasks_by_name = dict(zip(names, tasks, strict=True))
        for name in overrides:
            self._tasks_by_name.pop(name, None)
        self._drain()
        return targets

    # Tasks

    def _tasks_of_module(self, names: list[str]) -> list[BoundTask]:
        """Return what ``_task`` does for names of the flow's own module."""
        declarations, entered, overrides = self.layers[0].names, self._entered[0], self.around.overrides
        before = f"{self.path}::"
        found = []
        for name in names:
            bound = entered.get(name)
            if bound is None and name not in overrides:
                declaration = declarations[name]
                bound = entered[name] = BoundTask(before + name, name, self.flow, declaration, self._order)
                self._order += 1
                self.tasks.append(bound)
                if not self._bind_plain(bound, declaration):
                    self._queue.append((bound, declaration, 0))
            found.append(self._task(0, name) if bound is None else bound)
        return found

    def _task(self, layer: int, name: str, *, beneath: bool = False) -> BoundTask:
        """Return the bound task of a name in a layer; its arguments are bound later, without recursion."""
        bound = self._entered[layer].get(name)
        if bound is None:
            override = self.around.overrides.get(name) if layer == 0 and not beneath else None
            if override is not None:
                override.used = True
                return self._overriding(override, name)
            declaration = self.layers[layer].names[name]
            inner = layer == 0 and not beneath
            bound = self._enter(layer, name, declaration, name if inner else self._layered(layer, name))
        return bound

    def _layered(self, layer: int, name: str) -> str:
        """Return a key for a task of an outer layer: its plain name unless an inner one has that."""
        taken = any(name in inner.names for inner in self.layers[:layer]) or name in self.around.overrides
        return f"{name}@{self.layers[layer].where}" if taken else name

    def _enter(self, layer: int, name: str, declaration: Declaration, label: str) -> BoundTask:
        bound = BoundTask(f"{self.path}::{label}", declaration.name, self.flow, declaration, self._order)
        if "@" in label:
            bound.name = label
        self._order += 1
        self.tasks.append(bound)
        self._entered[layer][name] = bound
        self._queue.append((bound, declaration, layer))
        return bound

    def _overriding(self, override: Override, name: str) -> BoundTask:
        bound = self._entered[-1].get(name)
        if bound is not None:
            return bound
        layer = next((i for i, layer in enumerate(self.layers) if name in layer.names), 0)
        original = self.layers[layer].names.get(name)
        if override.declaration is not None:
            return self._enter(-1, name, providing(override.declaration, original), name)
        if original is not None and not is_resource(original):
            given = given_value(f"{self.path}::{name}", name, self.flow, None)  # known once it is known whether it is mapped
            self._standing[given] = override
            self._queue.append((given, original, layer))
        else:
            value = self._override_value(override, original)
            given = given_value(f"{self.path}::{name}", name, self.flow, value)
        self.tasks.append(given)
        self._entered[-1][name] = given
        return given

    def _drain(self) -> None:
        """Bind the arguments of every task entered so far, and of those that this enters."""
        position = 0
        while position < len(self._queue):
            bound, declaration, layer = self._queue[position]
            position += 1
            try:
                if bound.given is not None:
                    self._bind_given(bound, declaration, layer)
                elif not self._bind_plain(bound, declaration):
                    self._bind_task(bound, declaration, layer)
            except UsageError as error:
                self._wrong(bound, error)
        self._queue.clear()
        for given, original in self._stand_ins:
            self._try(self._map_given, given, original)
        self._stand_ins.clear()

    def _wrong(self, bound: BoundTask, error: UsageError) -> None:
        self.errors.append(error)
        self.unsure.add(bound)

    def _tried(self, bound: BoundTask, otherwise: T, call: Callable[..., T], *arguments: object) -> T:
        """Return what a call does; ``otherwise`` if it finds something wrong with a task, which is kept for the end."""
        try:
            return call(*arguments)
        except UsageError as error:
            self._wrong(bound, error)
            return otherwise

    def _bind_plain(self, bound: BoundTask, declaration: Declaration) -> bool:
        """Bind a task that says nothing but names of tasks that were found before; return whether it is one.

        Nearly all are, and ``_bind_task`` does the same at several times the cost.
        """
        function = declaration.function
        if declaration.options or self._says_more or type(function) is not FunctionType:
            return False
        code = function.__code__
        if code.co_flags & _REFUSED or code.co_posonlyargcount or "__wrapped__" in function.__dict__:
            return False
        if count := code.co_argcount + code.co_kwonlyargcount:
            if not self._tasks_by_name:
                return False  # not yet known
            names = code.co_varnames[:count]
            if declaration.name in names or not function.__annotations__.keys().isdisjoint(names):
                return False
            upstream = list(map(self._tasks_by_name.get, names))
            if not all(upstream):
                return False
            bound.edges = tuple(map(Edge, upstream, names))  # type: ignore[arg-type]  # None is not in there
        bound.options = self._defaults
        return True

    def _bind_task(self, bound: BoundTask, declaration: Declaration, layer: int) -> None:
        if declaration.is_generator:
            remedy = "A task returns its result: return a list. What sets up and tears down is a @resource."
            self._wrong(bound, DeclarationError(f"task {bound.name!r} ({bound.where}) yields", remedy=remedy))
        for error in declaration.unnamed():
            self._wrong(bound, error)
        self._apply_options(bound, declaration)
        each = self._each(bound, declaration) if declaration.options else {}
        asked_from = (layer, declaration.name)
        bound.edges = edges = []
        for argument in declaration.arguments() if each is not None else ():
            if each and argument.name in each:
                continue
            try:
                edge = self._bind_argument(bound, declaration, argument, asked_from)
            except UsageError as error:
                self._wrong(bound, error)
            else:
                edges += [edge] if edge is not None else []
        if declaration.options:
            self._bind_each(bound, declaration, each or {}, asked_from)
            self._bind_needs(bound, declaration, asked_from, edges)

    def _apply_options(self, bound: BoundTask, declaration: Declaration) -> None:
        written = declaration.options
        options = self._defaults
        where = f"task {bound.name!r} ({bound.where})" if written else ""
        if written:
            options = dict(options)
            for name, value in written.items():
                if name in CORE_OPTIONS:
                    options[name] = value
                else:
                    self._try(self._set_option, options, name, value, where)
        bound.options = options
        if not written and not self._says_more:
            return
        where = f"task {bound.name!r} ({bound.where})"
        allow = options.get("allow_failure", False)
        bound.allow_failure = self._tried(bound, False, flag_of, allow, "allow_failure", where)
        bound.tags = self._tried(bound, (), names_of, options.get("tags", ()), "tags", where)
        bound.provides = self._tried(bound, (), names_of, options.get("provides", ()), "provides", where)
        bound.trigger = self._tried(bound, None, trigger_of, options.get("trigger"), where)

    # Arguments

    def _bind_argument(
        self, bound: BoundTask, declaration: Declaration, argument: Argument, asked_from: tuple[int, str]
    ) -> Edge | None:
        """Find what an argument leads to: the edge to it if it is a task, else it is noted in ``bound``."""
        wants = self._read(declaration, argument)
        name = wants.source or argument.name
        if name != asked_from[1] and (upstream := self._tasks_by_name.get(name)) is not None:
            return Edge(upstream, argument.name, wants.accepts, wants.collected)
        found = self.find(name, asked_from)
        if found is None or self._overrides_parameter(found, name):
            self._take_parameter(bound, declaration, argument, wants, name)
            return None
        if found.input:
            self._check_builtin(bound, declaration, argument, wants, found, name)
            bound.constants = {**bound.constants, argument.name: self._input_value(found, name)}
            bound.parameters = {**bound.parameters, argument.name: name}
            return None
        if found.declaration is not None and is_resource(found.declaration):
            if found.plugin is not None:
                self._check_builtin(bound, declaration, argument, wants, found, name)
            self._refuse_collected(bound, argument, wants)
            bound.resources = {**bound.resources, argument.name: self._found_resource(found, name)}
            return None
        if found.override is not None and found.declaration is None and self._replaces_resource(found.override.name):
            constant = self._constant_resource(name, found.override, wants)
            bound.resources = {**bound.resources, argument.name: constant}
            return None
        if found.plugin is not None:
            self._check_builtin(bound, declaration, argument, wants, found, name)
        upstream = self._found_task(found)
        own = name == asked_from[1] or name in bound.provides  # others find something else by it
        if found.override is None and found.plugin is None and found.part is None and not own:
            self._tasks_by_name[name] = upstream
        return Edge(upstream, argument.name, wants.accepts, wants.collected, found.part)

    def _found_task(self, found: Found) -> BoundTask:
        if found.override is not None:
            return self._overriding(found.override, found.override.name)
        assert found.declaration is not None  # parameters and resources were told apart before
        return self._task(found.layer, found.declaration.name, beneath=found.beneath)

    def _take_parameter(
        self, bound: BoundTask, declaration: Declaration, argument: Argument, wants: Wants, name: str
    ) -> None:
        if wants.collected:
            raise ResolutionError(
                f"task {bound.name!r} ({bound.where}) collects {name!r}, which is no mapped task",
                known=f"visible names: {listing(self.visible())}",
                remedy=did_you_mean(name, self.visible(), "A parameter is typed list[T]."),
            )
        accepts = wants.accepts
        if not accepts.value or accepts.failure is not None or accepts.skipped:
            raise ResolutionError(
                f"task {bound.name!r} ({bound.where}) asks for what became of {name!r}, which is no task",
                known=f"visible names: {listing(self.visible())}",
                remedy=did_you_mean(name, self.visible(), f"Define a task named {name!r}."),
            )
        self._declare(bound.key, declaration, argument, wants, name)
        bound.parameters = {**bound.parameters, argument.name: name}

    # Fan-out, needs, fallback

    def _each(self, bound: BoundTask, declaration: Declaration) -> dict[str, tuple[str, ...]] | None:
        """Return argument → the entry of ``each`` that it is in; None if that is wrong, which is kept.

        Then it is not known which arguments take elements, and which lead somewhere.
        """
        each = declaration.options.get("each")
        if each is None:
            return {}
        where = f"task {bound.name!r} ({bound.where})"
        names = [*declaration.positional(), *[argument.name for argument in declaration.arguments()]]
        if not isinstance(each, Mapping) or not each:
            wrong = "is empty" if isinstance(each, Mapping) else "is no mapping"
            self._wrong(bound, OptionError(f"{where}: each={each!r} {wrong}", remedy='Write each={"argument": "source"}.'))
            return None
        found: dict[str, tuple[str, ...]] = {}
        problems: list[OptionError] = []
        for key in each:
            arguments = tuple(part.strip() for part in key.split(",")) if isinstance(key, str) else (str(key),)
            for argument in arguments:
                problem = no_argument(argument, names, found, where)
                problems += [problem] if problem is not None else []
                found[argument] = arguments
        for problem in problems:
            self._wrong(bound, problem)
        return found if not problems else None

    def _bind_each(
        self,
        bound: BoundTask,
        declaration: Declaration,
        each: Mapping[str, tuple[str, ...]],
        asked_from: tuple[int, str],
    ) -> None:
        written: Any = declaration.options["each"] if each else {}
        elements: list[Element] = []
        for key, source in written.items():
            names = each[key.split(",")[0].strip()]
            try:
                upstream, part = self._source(bound, declaration, names, source, asked_from)
            except UsageError as error:
                self._wrong(bound, error)
                continue
            # The axis itself is made when the axes of all sources are known.
            elements.append(Element(names, Axis(upstream, part, ()), unpack="," in key))
        bound.elements = elements

    def _source(
        self,
        bound: BoundTask,
        declaration: Declaration,
        names: tuple[str, ...],
        source: object,
        asked_from: tuple[int, str],
    ) -> tuple[BoundTask, str | None]:
        where = f"task {bound.name!r} ({bound.where})"
        if not isinstance(source, str):
            check_literal(source, names, where)
            label = f"{bound.key}.each.{'+'.join(names)}"
            return given_value(label, f"{bound.name}.{names[0]}", self.flow, source), None
        found = self.find(source, asked_from)
        if found is None or self._overrides_parameter(found, source):
            return self._iterated(self._element_type(declaration, names), source, bound), None
        if found.input or (found.declaration is not None and is_resource(found.declaration)):
            raise ResolutionError(
                f"{where}: each over {source!r}, which is a resource",
                remedy="Map over a task, a parameter or a list. Let a task that asks for the resource return the list.",
            )
        return self._found_task(found), found.part

    def _element_type(self, declaration: Declaration, names: Sequence[str]) -> object:
        """Return what an element of a source is, by the annotations of the arguments that take it; Any if none says."""
        hints = [self._read(declaration, a).annotation for a in declaration.arguments() if a.name in names]
        said = [typing.Any if hint is MISSING else hint for hint in hints]
        if len(said) == 1:
            return said[0]
        return GenericAlias(tuple, tuple(said)) if any(hint is not typing.Any for hint in said) else typing.Any

    def _bind_needs(
        self, bound: BoundTask, declaration: Declaration, asked_from: tuple[int, str], edges: list[Edge]
    ) -> None:
        where = f"task {bound.name!r} ({bound.where})"
        names: tuple[str, ...] = ()
        for name in self._tried(bound, names, names_of, declaration.options.get("needs", ()), "needs", where):
            needed = self._tried(bound, None, self._must_be_task, name, "needs", bound, asked_from)
            if needed is not None:
                edges.append(Edge(self._found_task(needed)))
        fallback = declaration.options.get("fallback")
        if fallback is not None:
            self._tried(bound, None, self._bind_fallback, bound, fallback, asked_from)
        if bound.trigger is not None and not edges and "trigger" in declaration.options and bound not in self.unsure:
            raise OptionError(
                f"{where}: trigger={bound.trigger!r} on a task that has nothing above it",
                remedy="Ask for a task by argument, or name one in needs=[…].",
            )

    def _bind_fallback(self, bound: BoundTask, fallback: object, asked_from: tuple[int, str]) -> None:
        if not isinstance(fallback, str):
            where = f"task {bound.name!r} ({bound.where})"
            raise OptionError(f"{where}: fallback={fallback!r} is no name", remedy="Name a task as text.")
        found = self._must_be_task(fallback, "fallback", bound, asked_from)
        bound.fallback = self._found_task(found)
        bound.fallback.is_fallback = True
        if bound.provides:
            bound.fallback.owes = {**bound.fallback.owes, bound.name: bound.provides}

    def _must_be_task(self, name: str, option: str, bound: BoundTask, asked_from: tuple[int, str]) -> Found:
        found = self.find(name, asked_from)
        if found is None or found.input or (found.declaration is not None and is_resource(found.declaration)):
            tasks = [n for layer in self.layers for n, d in layer.names.items() if not is_resource(d)]
            raise ResolutionError(
                f"task {bound.name!r} ({bound.where}): {option} names {name!r}, which is no task",
                known=f"tasks: {listing(set(tasks))}",
                remedy=did_you_mean(name, tasks, "Name a task that is visible from this flow."),
            )
        return found

    def _bind_given(self, given: BoundTask, declaration: Declaration, layer: int) -> None:
        """Bind the task that a value stands in for: if it is mapped, the value is (ruling C10)."""
        original = BoundTask(given.key, given.name, given.flow, declaration, order=given.order)
        self._stand_ins.append((given, original))
        self._bind_task(original, declaration, layer)

    def _map_given(self, given: BoundTask, original: BoundTask) -> None:
        """Let a list or dict stand in for a mapped task: for its elements, in their order or by their ids."""
        given.elements = inherited_elements(original)
        given.provides = original.provides
        if original in self.unsure:
            self.unsure.add(given)
        value = self._override_value(self._standing[given], original.declaration, mapped=bool(given.elements))
        given.given = lambda path: value
        check_stand_in(given, original, value)
        if given.elements:
            given.constants = {"__mapped__": True}
