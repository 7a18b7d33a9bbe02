"""What a name leads to, seen from one flow: its module, each ``flowconf.py`` upwards, the plugins.

The nearest wins. A look-up is relative to the flow that is run; a definition that asks for its
own name gets the one that it overrides.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping
from typing import Any

from flowkit.annotations import MISSING, evaluated
from flowkit.collector import CollectedFlow, is_resource
from flowkit.declarations import Declaration
from flowkit.errors import (
    CycleError,
    DeclarationError,
    OptionError,
    UsageError,
    nearest,
)
from flowkit.graph import BoundFlow, BoundResource, BoundTask
from flowkit.hookspecs import Option
from flowkit.imports import declared_in
from flowkit.layers import Layer
from flowkit.options import (
    CORE_OPTIONS,
    converted,
)
from flowkit.parameters import Parameter
from flowkit.records import field, record

#: Options of the core that may be said for all tasks of a flow.
_DEFAULTS = ("allow_failure", "tags", "trigger")


@record()
class Override:
    """What stands in for a name in this run: a declaration, or a value."""

    name: str
    origin: str  #: where from, in words: ``-O limit``, ``override['limit']``
    declaration: Declaration | None = None
    value: object = MISSING
    text: str | None = None  #: as typed with -O; converted when it is known by what
    read: list[object] = field(factory=list)  #: what its text was converted to
    used: bool = False


@record()
class Surroundings:
    """What is the same for every flow of a run.

    Attributes:
        task_options: By name, as plugins declared them.
        flow_options: By name.
        project_defaults: ``[tool.flowkit.defaults]``.
        plugin_names: Name → (declaration, plugin) of tasks and resources that plugins bring.
        inputs: Values that plugins offer by name.
        overrides: By name.
        convert: Turns what an override was given as into what an annotation wants.
    """

    task_options: Mapping[str, Option]
    flow_options: Mapping[str, Option]
    project_defaults: Mapping[str, object]
    plugin_names: Mapping[str, tuple[Declaration, str]]
    inputs: Mapping[str, object]
    overrides: Mapping[str, Override]
    convert: Callable[[Override, object], object]
    resources: dict[tuple[int, tuple[int, ...]], BoundResource] = field(factory=dict)


@record()
class Found:
    """What a name leads to: a declaration in a layer, an override, or a plugin's input."""

    layer: int
    declaration: Declaration | None = None
    part: str | None = None
    override: Override | None = None
    plugin: str | None = None
    input: bool = False
    beneath: bool = False  #: asked for by the override that stands in for it


class Lookup:
    """The names that a flow's definitions see, and the options that hold for its tasks.

    Args:
        collected: The flow's module and the layers above it.
        around: What is the same for every flow.

    Attributes:
        errors: What is wrong so far.
        unsure: The tasks that it is wrong with: what they are mapped over is not known.
        parameters: The flow's parameters, by name.
        layers: The modules whose names are visible, nearest first.
        flow: The flow.
    """

    def __init__(self, collected: CollectedFlow, around: Surroundings) -> None:
        self.around = around
        self.errors: list[UsageError] = []
        self.parameters: dict[str, Parameter] = {}
        self.path = collected.path
        plugins = Layer("plugins", {name: d for name, (d, _) in around.plugin_names.items()})
        self.layers: list[Layer] = [collected.layer, *collected.above, plugins]
        self._provided = [self._parts_of(layer) for layer in self.layers]
        self.flow = self._bind_flow(collected)
        self._defaults = self._merge_defaults()
        self.unsure: set[BoundTask] = set()
        self._givens: dict[str, BoundTask] = {}  #: parameters that are mapped over

    def _try(self, call: Callable[..., object], *arguments: object) -> None:
        """Call, and keep what is wrong for the end."""
        try:
            call(*arguments)
        except UsageError as error:
            self.errors.append(error)

    # Flow and options

    def _bind_flow(self, collected: CollectedFlow) -> BoundFlow:
        module = collected.layer.module
        flow = collected.layer.flow
        if flow is not None and flow.name is not None and not isinstance(flow.name, str):
            self.errors.append(OptionError(f"Flow ({flow.where}): its name is {flow.name!r}", remedy="A name is text."))
        name = flow.name if flow is not None and flow.name else (module.__name__ if module else collected.path)
        bound = BoundFlow(
            str(name).rpartition(".")[2] if flow is None or not flow.name else str(name),
            collected.path,
            str(collected.file) if collected.file else None,
            module.__name__ if module else "",
            where=flow.where if flow is not None else collected.path,
        )
        bound.options = {option.name: option.default for option in self.around.flow_options.values()}
        if flow is not None:
            for key, value in flow.options.items():
                self._try(self._flow_option, bound, key, value)
        return bound

    def _flow_option(self, bound: BoundFlow, name: str, value: object) -> None:
        option = self.around.flow_options.get(name)
        if option is None:
            raise self._no_flow_option(name, f"Flow ({bound.where})")
        bound.options[name] = converted(option, value, f"Flow ({bound.where})")

    def _no_flow_option(self, name: str, where: str) -> OptionError:
        known = ["name", "defaults", *self.around.flow_options]
        error = OptionError.unknown("option", name, where, known)
        of_tasks = [*_DEFAULTS, *self.around.task_options]
        meant = name if name in of_tasks else nearest(name, known) or nearest(name, of_tasks)
        if meant in of_tasks and meant not in known:
            error.remedy = f"Options of tasks are its defaults: defaults={{{meant!r}: …}}."
        return error

    def _merge_defaults(self) -> dict[str, object]:
        """Return the options of a task that says nothing: the nearest default, else the plugin's."""
        merged: dict[str, object] = {o.name: o.default for o in self.around.task_options.values()}
        levels: list[tuple[str, Mapping[str, object]]] = [("[tool.flowkit.defaults]", self.around.project_defaults)]
        levels += [
            (f"Flow(defaults=…) ({layer.flow.where})", layer.flow.defaults)
            for layer in reversed(self.layers[:-1])
            if layer.flow is not None
        ]
        for where, defaults in levels:
            for name, value in defaults.items():
                if name in CORE_OPTIONS:
                    if name in _DEFAULTS:
                        merged[name] = value
                    else:
                        self.errors.append(
                            OptionError(f"{where}: {name!r} cannot be a default", remedy="Say it at the task.")
                        )
                    continue
                self._try(self._set_option, merged, name, value, where)
        return merged

    def _set_option(self, options: dict[str, object], name: str, value: object, where: str) -> None:
        options[name] = self._plugin_option(name, value, where)

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
            provides = declaration.options.get("provides") if declaration.options else None
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
                return self._overridden(override, name)
        for index in range(start, len(self.layers)):
            layer = self.layers[index]
            declaration = layer.names.get(name)
            if declaration is not None:
                plugin = self.around.plugin_names[name][1] if index == len(self.layers) - 1 else None
                found = Found(index, declaration)
                found.plugin, found.beneath = plugin, own and not start
                return found
            whole = self._provided[index].get(name)
            if whole is not None and asked_from != (index, whole):
                return self._found_part(index, whole, name, beneath=asked_from == (-1, whole))
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

    def may_ask(self) -> set[str]:
        """Return every name that a definition may ask for, one that could not be bound included."""
        declarations = [d for layer in self.layers for d in layer.names.values()]
        declarations += [d for layer in self.layers if layer.module is not None for d in declared_in(layer.module)]
        declarations += [o.declaration for o in self.around.overrides.values() if o.declaration is not None]
        return {name for declaration in declarations for name in declaration.asks()}

    def _found_part(self, index: int, whole: str, name: str, *, beneath: bool) -> Found:
        """Return a name that a task of a layer provides: what stands in for that task provides it, too."""
        override = self.around.overrides.get(whole)
        if override is None or beneath or any(whole in nearer.names for nearer in self.layers[:index]):
            return Found(index, self.layers[index].names[whole], part=name, beneath=beneath)
        override.used = True
        return Found(-1, override.declaration, name, override)

    def _overridden(self, override: Override, name: str) -> Found:
        """Return where an override leads; a value for a plugin's input is an input, too."""
        found = Found(-1, override=override, declaration=override.declaration)
        if name in self.around.inputs and found.declaration is None and not self._defined(name):
            found.plugin, found.input = "inputs", True
        return found

    def _defined(self, name: str) -> bool:
        """Whether a layer has a name, provided ones included."""
        return any(name in layer.names or name in parts
                   for layer, parts in zip(self.layers, self._provided, strict=True))

    def _overrides_parameter(self, found: Found, name: str) -> bool:
        """Whether it is the override of a parameter: nothing has that name."""
        plain = found.override is not None and found.declaration is None and not found.input
        return plain and not self._defined(name)

    def _replaces_resource(self, name: str) -> bool:
        return any(name in layer.names and is_resource(layer.names[name]) for layer in self.layers)

    def _override_value(
        self, override: Override, original: Declaration | None, annotation: object = None, *, mapped: bool = False
    ) -> object:
        if override.text is None:
            return override.value
        wanted: object = annotation
        if wanted is None and original is not None:
            hint = getattr(original.function, "__annotations__", {}).get("return", MISSING)
            wanted = evaluated(hint, original.namespace) if hint is not MISSING else typing.Any
            if mapped and hint is not MISSING:
                inner: Any = wanted
                wanted = list[inner] | dict[str, inner]
        found = self.around.convert(override, typing.Any if wanted is None else wanted)
        override.read.append(found)
        return found

    def _input_value(self, found: Found, name: str) -> object:
        """Return the value that a plugin offers, or what stands in for it, of the same type."""
        offered = self.around.inputs[name]
        return offered if found.override is None else self.around.convert(found.override, type(offered))
