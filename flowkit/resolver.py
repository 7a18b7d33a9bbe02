"""Argument names → providers. The nearest wins; errors name the nearest name.

For each argument: ``From``, then an override, then a task or resource visible from the flow's
module (its own, then each ``flowconf.py`` upwards, then the plugins'), else a parameter.
A look-up is relative to the flow that is run; a definition that asks for its own name gets the
one that it overrides.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowkit.annotations import MISSING, NOTHING, Wants, cannot_fit, evaluated, read
from flowkit.annotations import text as shown
from flowkit.collector import CollectedFlow, Layer, is_resource
from flowkit.declarations import Argument, Declaration
from flowkit.errors import (
    CycleError,
    DeclarationError,
    OptionError,
    ParameterError,
    ResolutionError,
    UsageError,
    did_you_mean,
    listing,
)
from flowkit.graph import Axis, BoundFlow, BoundResource, BoundTask, Edge, Element
from flowkit.hookspecs import Option
from flowkit.parameters import Parameter
from flowkit.resources import PYTEST_SCOPES, SCOPES
from flowkit.scheduler.triggers import TRIGGERS
from flowkit.values import Collected

CORE_OPTIONS = ("name", "each", "provides", "needs", "trigger", "fallback", "allow_failure", "tags")


@dataclass(slots=True)
class Override:
    """What stands in for a name in this run: a declaration, or a value."""

    name: str
    declaration: Declaration | None = None
    value: object = MISSING
    text: str | None = None  #: as typed with -O; converted when it is known by what
    used: bool = False


@dataclass(slots=True)
class Surroundings:
    """What is the same for every flow of a run.

    Attributes:
        task_options: By name, as plugins declared them.
        flow_options: By name.
        project_defaults: ``[tool.flowkit.defaults]``.
        plugin_names: Name → (declaration, plugin) of tasks and resources that plugins bring.
        inputs: Values that plugins offer by name.
        overrides: By name.
        convert: Turns an override's text into what an annotation wants.
    """

    task_options: Mapping[str, Option]
    flow_options: Mapping[str, Option]
    project_defaults: Mapping[str, object]
    plugin_names: Mapping[str, tuple[Declaration, str]]
    inputs: Mapping[str, object]
    overrides: Mapping[str, Override]
    convert: Callable[[str, object], object]
    resources: dict[tuple[int, tuple[int, ...]], BoundResource] = field(default_factory=dict)


@dataclass(slots=True)
class Found:
    """What a name leads to: a declaration in a layer, an override, or a plugin's input."""

    layer: int
    declaration: Declaration | None = None
    part: str | None = None
    override: Override | None = None
    plugin: str | None = None
    input: bool = False
    beneath: bool = False  #: asked for by the override that stands in for it


class Resolver:
    """Binds the tasks of one flow.

    Args:
        collected: The flow's module and the layers above it.
        around: What is the same for every flow.
        first: The definition order of its first task.
    """

    def __init__(self, collected: CollectedFlow, around: Surroundings, first: int = 0) -> None:
        self.around = around
        self.errors: list[UsageError] = []
        self.parameters: dict[str, Parameter] = {}
        self.tasks: dict[tuple[int, str], BoundTask] = {}
        self.path = collected.path
        plugins = Layer("plugins", {name: d for name, (d, _) in around.plugin_names.items()})
        self.layers: list[Layer] = [collected.layer, *collected.above, plugins]
        self._order = first
        self._binding: dict[int, tuple[str, str]] = {}
        self._givens: dict[str, BoundTask] = {}
        self._provided = [self._parts_of(layer) for layer in self.layers]
        self.flow = self._bind_flow(collected)
        self._defaults = self._merge_defaults()
        self._queue: list[tuple[BoundTask, Declaration, int]] = []
        self._tasks_by_name: dict[str, BoundTask] = {}  #: names that were found to be plain tasks, whoever asks
        self._says_more = any(name in self._defaults for name in ("allow_failure", "tags", "trigger"))
        self._stand_ins: list[tuple[BoundTask, BoundTask]] = []

    def bind(self) -> list[BoundTask]:
        """Bind every task the flow's module defines or imports, and what those need."""
        own = [n for n in self.layers[0].own if not is_resource(self.layers[0].names[n])]
        chosen = own or [n for n, d in self.layers[0].names.items() if not is_resource(d)]
        targets = [self._task(0, name) for name in chosen]
        for declaration in self.layers[0].names.values():
            if is_resource(declaration):
                self._try(lambda d=declaration: self._resource(d, 0, ()))  # type: ignore[misc]
        for name in self.layers[0].names:
            if not is_resource(self.layers[0].names[name]):
                self._task(0, name)
        self._drain()
        return targets

    def _try(self, call: Callable[[], object]) -> None:
        try:
            call()
        except UsageError as error:
            self.errors.append(error)

    # Flow and options

    def _bind_flow(self, collected: CollectedFlow) -> BoundFlow:
        module = collected.layer.module
        flow = collected.layer.flow
        if flow is not None and flow.name is not None and not isinstance(flow.name, str):
            self.errors.append(OptionError(f"Flow in {self.path}: its name is {flow.name!r}", remedy="A name is text."))
        name = flow.name if flow is not None and flow.name else (module.__name__ if module else collected.path)
        bound = BoundFlow(
            str(name).rpartition(".")[2] if flow is None or not flow.name else str(name),
            collected.path,
            str(collected.file) if collected.file else None,
            module.__name__ if module else "",
        )
        bound.options = {option.name: option.default for option in self.around.flow_options.values()}
        if flow is not None:
            for key, value in flow.options.items():
                self._try(lambda k=key, v=value: self._flow_option(bound, k, v))  # type: ignore[misc]
        return bound

    def _flow_option(self, bound: BoundFlow, name: str, value: object) -> None:
        option = self.around.flow_options.get(name)
        if option is None:
            known = ["name", "defaults", *self.around.flow_options]
            raise OptionError.unknown("option", name, f"Flow in {self.path}", known)
        bound.options[name] = converted(option, value, f"Flow in {self.path}")

    def _merge_defaults(self) -> dict[str, object]:
        """Return the options of a task that says nothing: the nearest default, else the plugin's."""
        merged: dict[str, object] = {o.name: o.default for o in self.around.task_options.values()}
        levels: list[tuple[str, Mapping[str, object]]] = [("[tool.flowkit.defaults]", self.around.project_defaults)]
        levels += [
            (f"Flow(defaults=…) in {layer.where}", layer.flow.defaults)
            for layer in reversed(self.layers[:-1])
            if layer.flow is not None
        ]
        for where, defaults in levels:
            for name, value in defaults.items():
                if name in CORE_OPTIONS:
                    if name in ("allow_failure", "tags", "trigger"):
                        merged[name] = value
                    else:
                        self.errors.append(
                            OptionError(f"{where}: {name!r} cannot be a default", remedy="Say it at the task.")
                        )
                    continue
                self._try(lambda w=where, n=name, v=value: merged.__setitem__(n, self._plugin_option(n, v, w)))  # type: ignore[misc]
        return merged

    def _plugin_option(self, name: str, value: object, where: str) -> object:
        option = self.around.task_options.get(name)
        if option is None:
            raise OptionError.unknown("option", name, where, [*CORE_OPTIONS, *self.around.task_options])
        return converted(option, value, where)

    # Look-up

    def _parts_of(self, layer: Layer) -> dict[str, str]:
        """Return provided name → task, for the tasks of a layer; no two things have one name."""
        found: dict[str, str] = {}
        for name, declaration in layer.names.items():
            provides = declaration.options.get("provides")
            if not isinstance(provides, (list, tuple)):
                continue
            for part in provides:
                if not isinstance(part, str):
                    continue
                other = layer.names.get(part) or layer.names.get(found.get(part, ""))
                if other is not None:
                    self.errors.append(
                        DeclarationError(
                            f"two definitions of {part!r} in one module",
                            known=f"{other.kind} at {other.where}\ntask {name!r} provides it, at {declaration.where}",
                            remedy="Rename one of them.",
                        )
                    )
                found[part] = name
        return found

    def find(self, name: str, asked_from: tuple[int, str] | None = None) -> Found | None:
        """Return what a name leads to, or None for a parameter.

        Args:
            name: The name.
            asked_from: (layer, name) of the definition that asks; it never gets itself.
        """
        start = 0
        own = asked_from is not None and asked_from[1] == name
        if asked_from is not None and own:
            start = asked_from[0] + 1
        else:
            override = self.around.overrides.get(name)
            if override is not None:
                override.used = True
                return Found(-1, override=override, declaration=override.declaration)
        for index in range(start, len(self.layers)):
            layer = self.layers[index]
            declaration = layer.names.get(name)
            if declaration is not None:
                plugin = self.around.plugin_names[name][1] if index == len(self.layers) - 1 else None
                return Found(index, declaration, plugin=plugin, beneath=own and not start)
            whole = self._provided[index].get(name)
            if whole is not None and (asked_from is None or asked_from != (index, whole)):
                return Found(index, layer.names[whole], part=name)
        if name in self.around.inputs:
            return Found(len(self.layers) - 1, plugin="inputs", input=True)
        if asked_from is not None and own and start:  # an override may ask for the parameter it stands for
            where = self.layers[asked_from[0]].names[name].where
            raise CycleError.along([(name, where), (name, where)])
        return None

    def visible(self) -> list[str]:
        """Return every name that an argument may ask for."""
        names: set[str] = set(self.parameters)
        for layer, parts in zip(self.layers, self._provided, strict=True):
            names.update(layer.names)
            names.update(parts)
        return sorted(names)

    # Tasks

    def _task(self, layer: int, name: str, *, beneath: bool = False) -> BoundTask:
        """Return the bound task of a name in a layer; its arguments are bound later, without recursion."""
        key = (layer, name)
        bound = self.tasks.get(key)
        if bound is None:
            override = self.around.overrides.get(name) if layer == 0 and not beneath else None
            if override is not None:
                override.used = True
                return self._overriding(override, name)
            declaration = self.layers[layer].names[name]
            inner = layer == 0 and not beneath
            bound = self._enter(key, declaration, name if inner else self._layered(layer, name))
        return bound

    def _layered(self, layer: int, name: str) -> str:
        """Return a key for a task of an outer layer: its plain name unless an inner one has that."""
        taken = any(name in inner.names for inner in self.layers[:layer]) or name in self.around.overrides
        return f"{name}@{self.layers[layer].where}" if taken else name

    def _enter(self, key: tuple[int, str], declaration: Declaration, label: str) -> BoundTask:
        bound = BoundTask(f"{self.path}::{label}", declaration.name, self.flow, declaration, order=self._order)
        if "@" in label:
            bound.name = label
        self._order += 1
        self.tasks[key] = bound
        self._queue.append((bound, declaration, key[0]))
        return bound

    def _overriding(self, override: Override, name: str) -> BoundTask:
        key = (-1, name)
        bound = self.tasks.get(key)
        if bound is not None:
            return bound
        if override.declaration is not None:
            return self._enter(key, override.declaration, name)
        layer = next((i for i, layer in enumerate(self.layers) if name in layer.names), 0)
        original = self.layers[layer].names.get(name)
        value = self._override_value(override, original, None)
        given = given_value(f"{self.path}::{name}", name, self.flow, value)
        self.tasks[key] = given
        if original is not None and not is_resource(original):
            self._queue.append((given, original, layer))
        return given

    def _override_value(self, override: Override, original: Declaration | None, annotation: object) -> object:
        if override.text is None:
            return override.value
        wanted: object = annotation
        if wanted is None and original is not None:
            hint = getattr(original.function, "__annotations__", {}).get("return", MISSING)
            wanted = evaluated(hint, original.namespace) if hint is not MISSING else typing.Any
            if original.options.get("each") and hint is not MISSING:
                inner: Any = wanted
                wanted = list[inner] | dict[str, inner]
        return self.around.convert(override.text, typing.Any if wanted is None else wanted)

    def _drain(self) -> None:
        """Bind the arguments of every task entered so far, and of those that this enters."""
        position = 0
        while position < len(self._queue):
            bound, declaration, layer = self._queue[position]
            position += 1
            try:
                if bound.given is not None:
                    self._bind_given(bound, declaration, layer)
                else:
                    self._bind_task(bound, declaration, layer)
            except UsageError as error:
                self.errors.append(error)
        self._queue.clear()
        for given, original in self._stand_ins:
            self._try(lambda g=given, o=original: self._map_given(g, o))  # type: ignore[misc]
        self._stand_ins.clear()

    def _bind_task(self, bound: BoundTask, declaration: Declaration, layer: int) -> None:
        if declaration.is_generator:
            raise DeclarationError(
                f"task {bound.name!r} ({bound.where}) yields",
                remedy="A task returns its result: return a list. What sets up and tears down is a @resource.",
            )
        self._apply_options(bound, declaration)
        each = self._each(bound, declaration)
        asked_from = (layer, declaration.name)
        for argument in declaration.arguments():
            if argument.name in each:
                continue
            try:
                self._bind_argument(bound, declaration, argument, asked_from)
            except UsageError as error:
                self.errors.append(error)
        if declaration.options:
            self._bind_each(bound, declaration, each, asked_from)
            self._bind_needs(bound, declaration, asked_from)

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
                    self._try(lambda n=name, v=value: options.__setitem__(n, self._plugin_option(n, v, where)))  # type: ignore[misc]
        bound.options = options
        if not written and not self._says_more:
            return
        where = f"task {bound.name!r} ({bound.where})"
        bound.allow_failure = _flag(options.get("allow_failure", False), "allow_failure", where)
        bound.tags = names_of(options.get("tags", ()), "tags", where)
        bound.provides = names_of(options.get("provides", ()), "provides", where)
        trigger = options.get("trigger")
        if trigger is not None and (not isinstance(trigger, str) or trigger not in TRIGGERS):
            raise OptionError(
                f"{where}: there is no trigger {trigger!r}",
                known=f"triggers: {listing(TRIGGERS)}",
                remedy=did_you_mean(str(trigger), TRIGGERS, "Name one of these, or leave trigger= out."),
            )
        bound.trigger = trigger

    # Arguments

    def _bind_argument(
        self, bound: BoundTask, declaration: Declaration, argument: Argument, asked_from: tuple[int, str]
    ) -> None:
        wants = NOTHING if argument.annotation is MISSING else self._read(bound, declaration, argument)
        name = wants.source or argument.name
        if name != asked_from[1] and (upstream := self._tasks_by_name.get(name)) is not None:
            bound.edges.append(Edge(upstream, argument.name, wants.accepts, wants.collected))
            return
        found = self.find(name, asked_from)
        if found is None or (found.override is not None and self._overrides_parameter(found, name)):
            self._take_parameter(bound, declaration, argument, wants, name)
            return
        if found.input:
            self._check_builtin(bound, declaration, argument, wants, found, name)
            bound.constants[argument.name] = self.around.inputs[name]
            bound.parameters[argument.name] = name
            return
        if found.declaration is not None and is_resource(found.declaration):
            if found.plugin is not None:
                self._check_builtin(bound, declaration, argument, wants, found, name)
            self._refuse_collected(bound, argument, wants)
            bound.resources[argument.name] = self._found_resource(found, name)
            return
        if found.override is not None and found.declaration is None and self._replaces_resource(name):
            bound.resources[argument.name] = self._constant_resource(name, found.override, wants)
            return
        if found.plugin is not None:
            self._check_builtin(bound, declaration, argument, wants, found, name)
        upstream = self._found_task(found, name)
        if found.override is None and found.plugin is None and found.part is None and name != asked_from[1]:
            self._tasks_by_name[name] = upstream
        bound.edges.append(Edge(upstream, argument.name, wants.accepts, wants.collected, found.part))

    def _overrides_parameter(self, found: Found, name: str) -> bool:
        """Whether an override replaces a parameter: no layer knows the name."""
        return not any(name in layer.names or name in parts
                       for layer, parts in zip(self.layers, self._provided, strict=True)) and (
            found.declaration is None
        )

    def _replaces_resource(self, name: str) -> bool:
        return any(name in layer.names and is_resource(layer.names[name]) for layer in self.layers)

    def _read(self, bound: BoundTask, declaration: Declaration, argument: Argument) -> Wants:
        try:
            return read(argument.annotation, declaration.namespace)
        except UsageError as error:
            raise DeclarationError(
                f"{declaration.kind} {bound.name!r} ({declaration.where}), argument {argument.name!r}: {error.what}",
                known=error.known,
                remedy=error.remedy,
            ) from error

    def _found_task(self, found: Found, name: str) -> BoundTask:
        if found.override is not None:
            return self._overriding(found.override, name)
        assert found.declaration is not None  # parameters and resources were told apart before
        return self._task(found.layer, found.declaration.name, beneath=found.beneath)

    @staticmethod
    def _refuse_collected(bound: BoundTask, argument: Argument, wants: Wants) -> None:
        if wants.collected:
            raise ResolutionError(
                f"task {bound.name!r} ({bound.where}) collects {argument.name!r}, which is a resource",
                remedy="Only the elements of a mapped task can be collected.",
            )

    def _check_builtin(
        self,
        bound: BoundTask,
        declaration: Declaration,
        argument: Argument,
        wants: Wants,
        found: Found,
        name: str,
    ) -> None:
        """Refuse a plugin's name where the argument plainly means something else (ruling B4)."""
        if found.input:
            gives: object = type(self.around.inputs[name])
            kind = f"the value {name!r}"
        else:
            assert found.declaration is not None
            kind = f"{found.declaration.kind} {name!r} of plugin {found.plugin!r}"
            gives = given_type(found.declaration)
        problem = ""
        if argument.default is not MISSING:
            problem = "has a default"
        elif wants.annotation is not MISSING and not wants.problem and cannot_fit(gives, wants.accepts.type):
            problem = f"is annotated {shown(wants.annotation)}"
        if problem:
            raise ResolutionError(
                f"{declaration.kind} {bound.name!r} ({declaration.where}): argument {argument.name!r} {problem}, "
                f"but its name is taken",
                known=f"{name!r} is {kind}: {shown(gives)}",
                remedy="Rename the argument, or ask for what it is.",
            )

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
        bound.parameters[argument.name] = name

    def _declare(self, key: str, declaration: Declaration, argument: Argument, wants: Wants, name: str) -> None:
        """Note a parameter; the same one asked for elsewhere must be declared alike (ruling B10)."""
        annotation = wants.annotation
        by = f"{declaration.kind} {declaration.name!r}"
        if wants.problem:
            raise ParameterError(
                f"parameter {name!r} of {by} ({declaration.where}): its annotation cannot be evaluated",
                known=wants.problem,
                remedy="Import that name outside of TYPE_CHECKING: the parameter's type converts its value.",
            )
        if annotation is MISSING:
            annotation = typing.Any if argument.default in (MISSING, None) else type(argument.default)
        known = self.parameters.get(name)
        if known is None:
            self.parameters[name] = Parameter(
                name, annotation, argument.default, by, declaration.where, [key]
            )
            return
        known.users.append(key)
        if known.iterated:  # an ``each`` only guessed at it
            users = known.users
            self.parameters[name] = Parameter(name, annotation, argument.default, by, declaration.where, users)
            return
        if known.annotation == annotation and same(known.default, argument.default):
            return
        raise ParameterError(
            f"parameter {name!r} is declared in two ways",
            known=f"{known.asked_by} ({known.where}): {as_written(known.annotation, known.default)}\n"
            f"{by} ({declaration.where}): {as_written(annotation, argument.default)}",
            remedy="Give both the same annotation and the same default.",
        )

    # Resources

    def _found_resource(self, found: Found, name: str) -> BoundResource:
        assert found.declaration is not None
        return self._resource(found.declaration, found.layer, (), name, found.plugin)

    def _constant_resource(self, name: str, override: Override, wants: Wants) -> BoundResource:
        value = self._override_value(override, None, wants.accepts.type)
        declaration = Declaration(lambda: value, {})
        declaration.name = name
        memo = (id(override), ())
        if memo not in self.around.resources:
            self.around.resources[memo] = BoundResource(name, declaration)
        return self.around.resources[memo]

    def _resource(
        self,
        declaration: Declaration,
        layer: int,
        path: tuple[tuple[str, str], ...],
        name: str | None = None,
        plugin: str | None = None,
    ) -> BoundResource:
        """Bind a resource and those it asks for; one that is bound alike for another flow is the same."""
        step = (declaration.name, declaration.where)
        if step in path:
            raise CycleError.along([*path[path.index(step) :], step])
        scope = self._scope(declaration)
        below: dict[str, BoundResource] = {}
        constants: dict[str, object] = {}
        parameters: dict[str, str] = {}
        for argument in declaration.arguments():
            wants = self._read_of(declaration, argument)
            asked = wants.source or argument.name
            found = self.find(asked, (layer, declaration.name))
            if found is not None and found.input:
                constants[argument.name] = self.around.inputs[asked]
            elif found is None or (found.override is not None and self._overrides_parameter(found, asked)):
                self._declare(f"resource {declaration.name}", declaration, argument, wants, asked)
                parameters[argument.name] = asked
            elif found.override is not None and found.declaration is None:
                below[argument.name] = self._constant_resource(asked, found.override, wants)
            elif found.declaration is not None and is_resource(found.declaration):
                below[argument.name] = self._resource(
                    found.declaration, found.layer, (*path, step), asked, found.plugin
                )
                self._check_scope(declaration, scope, found.declaration, (*path, step))
            else:
                raise ResolutionError(
                    f"resource {declaration.name!r} ({declaration.where}) asks for the task {asked!r}",
                    remedy="A resource may ask for parameters and for resources. Let the task that uses both ask for both.",
                )
        memo = (id(declaration), (*(id(r) for r in below.values()), *map(hash, parameters.values())))
        bound = self.around.resources.get(memo)
        if bound is None:
            bound = BoundResource(name or declaration.name, declaration, scope, constants, parameters, below, plugin)
            self.around.resources[memo] = bound
        return bound

    def _read_of(self, declaration: Declaration, argument: Argument) -> Wants:
        if argument.annotation is MISSING:
            return read(MISSING, {})
        return read(argument.annotation, declaration.namespace)

    @staticmethod
    def _scope(declaration: Declaration) -> str:
        where = f"resource {declaration.name!r} ({declaration.where})"
        for option in declaration.options:
            if option not in ("scope", "name"):
                raise OptionError.unknown("option", option, where, ("scope", "name"))
        scope = declaration.options.get("scope", "run")
        if scope in SCOPES:
            return str(scope)
        meant = PYTEST_SCOPES.get(str(scope))
        raise OptionError(
            f"{where}: there is no scope {scope!r}",
            known="scopes: task (one per attempt), worker (one per worker process), run (one per run)",
            remedy=f"For what pytest calls {scope!r}, write scope={meant!r}." if meant else "Name one of these.",
        )

    @staticmethod
    def _check_scope(
        asking: Declaration, scope: str, asked: Declaration, path: Sequence[tuple[str, str]]
    ) -> None:
        other = str(asked.options.get("scope", "run"))
        if other in SCOPES and SCOPES.index(other) < SCOPES.index(scope):
            steps = "\n".join(f"{name}  {where}" for name, where in [*path, (asked.name, asked.where)])
            raise ResolutionError(
                f"resource {asking.name!r} of scope {scope!r} asks for {asked.name!r}, which lives shorter "
                f"(scope {other!r})",
                known=steps,
                remedy=f"Narrow {asking.name!r} to scope={other!r}, or widen {asked.name!r} to scope={scope!r}.",
            )

    # Fan-out, needs, fallback

    def _each(self, bound: BoundTask, declaration: Declaration) -> dict[str, tuple[str, ...]]:
        """Return argument → the entry of ``each`` that it is in."""
        each = declaration.options.get("each")
        if each is None:
            return {}
        where = f"task {bound.name!r} ({bound.where})"
        if not isinstance(each, Mapping) or not each:
            raise OptionError(
                f"{where}: each={each!r} is no mapping", remedy='Write each={"argument": "source"}.'
            )
        names = [argument.name for argument in declaration.arguments()]
        found: dict[str, tuple[str, ...]] = {}
        for key in each:
            arguments = tuple(part.strip() for part in key.split(",")) if isinstance(key, str) else (str(key),)
            for argument in arguments:
                if argument not in names:
                    raise OptionError(
                        f"{where}: each names {argument!r}, which is no argument of it",
                        known=f"arguments: {listing(names)}",
                        remedy=did_you_mean(argument, names, "Name one of its arguments."),
                    )
                if argument in found:
                    raise OptionError(f"{where}: each names {argument!r} twice", remedy="Keep one of the two.")
                found[argument] = arguments
        return found

    def _bind_each(
        self,
        bound: BoundTask,
        declaration: Declaration,
        each: Mapping[str, tuple[str, ...]],
        asked_from: tuple[int, str],
    ) -> None:
        written: Any = declaration.options.get("each") or {}
        arguments = {argument.name: argument for argument in declaration.arguments()}
        for key, source in written.items():
            names = each[key.split(",")[0].strip()]
            try:
                upstream, part = self._source(bound, declaration, arguments[names[0]], names, source, asked_from)
            except UsageError as error:
                self.errors.append(error)
                continue
            # The axis itself is made when the axes of all sources are known.
            bound.elements.append(Element(names, Axis(upstream, part, ()), unpack="," in key))

    def _source(
        self,
        bound: BoundTask,
        declaration: Declaration,
        argument: Argument,
        names: tuple[str, ...],
        source: object,
        asked_from: tuple[int, str],
    ) -> tuple[BoundTask, str | None]:
        where = f"task {bound.name!r} ({bound.where})"
        if not isinstance(source, str):
            if isinstance(source, (bytes, int, float)) or not hasattr(source, "__iter__"):
                raise OptionError(
                    f"{where}: each over {source!r}, which is no list",
                    remedy="Name a task or a parameter, or write a list or a dict.",
                )
            label = f"{bound.key}.each.{'+'.join(names)}"
            return given_value(label, f"{bound.name}.{names[0]}", self.flow, source), None
        found = self.find(source, asked_from)
        if found is None or (found.override is not None and self._overrides_parameter(found, source)):
            return self._iterated(declaration, argument, source, bound), None
        if found.input or (found.declaration is not None and is_resource(found.declaration)):
            raise ResolutionError(
                f"{where}: each over {source!r}, which is a resource",
                remedy="Map over a task, a parameter or a list. Let a task that asks for the resource return the list.",
            )
        return self._found_task(found, source), found.part

    def _iterated(self, declaration: Declaration, argument: Argument, name: str, bound: BoundTask) -> BoundTask:
        """Map over a parameter: it is a list of what the argument is (ruling C1)."""
        given = self._givens.get(name)
        known = self.parameters.get(name)
        if known is None:
            wants = self._read(bound, declaration, argument)
            inner: Any = typing.Any if wants.annotation is MISSING else wants.annotation
            self.parameters[name] = Parameter(
                name, list[inner], MISSING, f"each of task {bound.name!r}", bound.where, [bound.key], iterated=True
            )
        else:
            known.users.append(bound.key)
        if given is None:
            parameter = self.parameters[name]
            given = given_value(f"{self.path}::{name}", name, self.flow, MISSING)
            given.given = lambda path: self.parameters[name].value
            given.parameters[name] = parameter.name
            self._givens[name] = given
        return given

    def _bind_needs(self, bound: BoundTask, declaration: Declaration, asked_from: tuple[int, str]) -> None:
        where = f"task {bound.name!r} ({bound.where})"
        for name in names_of(declaration.options.get("needs", ()), "needs", where):
            found = self._must_be_task(name, "needs", bound, asked_from)
            bound.edges.append(Edge(self._found_task(found, name)))
        fallback = declaration.options.get("fallback")
        if fallback is not None:
            if not isinstance(fallback, str):
                raise OptionError(f"{where}: fallback={fallback!r} is no name", remedy="Name a task as text.")
            found = self._must_be_task(fallback, "fallback", bound, asked_from)
            bound.fallback = self._found_task(found, fallback)
            bound.fallback.is_fallback = True
        if bound.trigger is not None and not bound.edges and "trigger" in declaration.options:
            raise OptionError(
                f"{where}: trigger={bound.trigger!r} on a task that has nothing above it",
                remedy="Ask for a task by argument, or name one in needs=[…].",
            )

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
        given.elements = _elements(original)
        if not given.elements:
            return
        assert given.given is not None  # it is a value
        value = given.given(())
        if not isinstance(value, (list, tuple, Mapping, Collected)):
            raise OptionError(
                f"the override of {given.name!r} is a {type(value).__name__}, but the task is mapped",
                known=f"{given.name!r} is defined at {original.where}",
                remedy="Give a list of its elements, or a dict by id.",
            )
        given.constants["__mapped__"] = True


def _elements(task: BoundTask) -> list[Element]:
    """Return the elements that a task is mapped over: inherited ones first, in argument order."""
    found: list[Element] = []
    seen = {task}
    stack = [(task, iter(task.edges))]
    while stack:
        current, edges = stack[-1]
        for edge in edges:
            if edge.argument is not None and not edge.collected and edge.source not in seen:
                seen.add(edge.source)
                stack.append((edge.source, iter(edge.source.edges)))
                break
        else:
            stack.pop()
            found += current.elements
    return found


def given_value(key: str, name: str, flow: BoundFlow, value: object) -> BoundTask:
    """Return a task that is a value: nothing to call, nothing to report."""
    return BoundTask(key, name, flow, None, order=-1, given=lambda path: value)


def given_type(declaration: Declaration) -> object:
    """Return the type a resource or task gives, by its return annotation; Any where nothing is known."""
    hint = getattr(declaration.function, "__annotations__", {}).get("return", MISSING)
    if hint is MISSING:
        return typing.Any
    found = evaluated(hint, declaration.namespace)
    if declaration.is_generator:
        inner = typing.get_args(found)
        return inner[0] if inner else typing.Any
    return found


def converted(option: Option, value: object, where: str) -> object:
    """Return what the user wrote for an option, as its plugin reads it.

    Raises:
        OptionError: It does not fit; says what the option wants.
    """
    try:
        return option.convert(value)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"{where}: {option.name}={value!r} does not fit: {error}",
            known=f"{option.name} is {option.type}: {option.help}",
            remedy="Write it in one of these forms.",
        ) from error


def names_of(value: object, option: str, where: str) -> tuple[str, ...]:
    """Return an option that is a list of names; one name alone will do."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, (list, tuple, set, frozenset)) and all(isinstance(v, str) for v in value):
        return tuple(value)
    raise OptionError(f"{where}: {option}={value!r} is no list of names", remedy=f'Write {option}=["name"].')


def _flag(value: object, option: str, where: str) -> bool:
    if isinstance(value, bool):
        return value
    raise OptionError(f"{where}: {option}={value!r}", remedy=f"{option} is True or False.")


def same(one: object, two: object) -> bool:
    """Whether two defaults are the same, also where ``==`` does not give a bool."""
    if one is two:
        return True
    if type(one) is not type(two):
        return False
    try:
        return bool(one == two)
    except Exception:
        return False


def as_written(annotation: object, default: object) -> str:
    """Return a parameter's annotation and default, as in a signature."""
    hint = "no annotation" if annotation is typing.Any else shown(annotation)
    return f"{hint}, required" if default is MISSING else f"{hint} = {default!r}"


def iterate_errors(errors: Iterable[UsageError]) -> list[UsageError]:
    """Return errors without repetition, in order."""
    seen: dict[str, UsageError] = {}
    for error in errors:
        seen.setdefault(str(error), error)
    return list(seen.values())
