"""Arguments that lead to parameters and to resources."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Any

from flowkit.annotations import MISSING, NOTHING, Wants, cannot_fit, evaluated, members, read
from flowkit.annotations import text as shown
from flowkit.collector import is_resource
from flowkit.declarations import Argument, Declaration
from flowkit.elements import NotAList, checked, looks, parts_of
from flowkit.errors import (
    CycleError,
    DeclarationError,
    OptionError,
    ParameterError,
    ResolutionError,
    UsageError,
    a_kind,
)
from flowkit.graph import BoundFlow, BoundResource, BoundTask, Element
from flowkit.lookup import Found, Lookup, Override
from flowkit.options import (
    as_written,
    same,
)
from flowkit.parameters import Parameter, Problem, default_of
from flowkit.resources import PYTEST_SCOPES, SCOPES, Resource
from flowkit.tasks import Task
from flowkit.values import Collected


class Binder(Lookup):
    """Declares parameters and binds resources for one flow."""

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
            plain = argument.default is MISSING or argument.default is None
            annotation = typing.Any if plain else type(argument.default)
        try:
            default = default_of(argument.default, annotation)
        except Problem as problem:
            raise ParameterError(
                f"parameter {name!r} of {by} ({declaration.where}): its default does not fit",
                known=f"wanted {shown(annotation)}:\n{problem}",
                remedy="Give it a default that does.",
            ) from None
        known = self.parameters.get(name)
        if known is None:
            self.parameters[name] = Parameter(name, annotation, default, by, declaration.where, [key])
            return
        known.users.append(key)
        declared = Parameter(name, annotation, default, by, declaration.where, known.users)
        if known.iterated:  # an ``each`` only guessed at it
            if not fits_elements(annotation, known.annotation):
                raise in_two_ways(known, declared)
            self.parameters[name] = declared
        elif known.annotation != annotation or not same(known.default, default):
            raise in_two_ways(known, declared)

    def _iterated(self, element: object, name: str, bound: BoundTask) -> BoundTask:
        """Map over a parameter: it is a list of what the arguments that take its elements are (ruling C1)."""
        inner: Any = element
        by = f"each of task {bound.name!r}"
        declared = Parameter(name, list[inner], MISSING, by, bound.where, [bound.key], iterated=True)
        known = self.parameters.get(name)
        if known is None or (known.iterated and known.annotation == list[Any]):
            declared.users = [*(known.users if known is not None else ()), bound.key]
            self.parameters[name] = declared
        elif not fits_elements(known.annotation, declared.annotation, alike=known.iterated):
            raise in_two_ways(known, declared)
        else:
            known.users.append(bound.key)
        given = self._givens.get(name)
        if given is None:
            given = self._givens[name] = given_value(f"{self.path}::{name}", name, self.flow, MISSING)
            given.given = lambda path: self.parameters[name].value
            given.parameters = {name: name}
        return given

    @staticmethod
    def _read(declaration: Declaration, argument: Argument) -> Wants:
        if argument.annotation is MISSING:
            return NOTHING
        try:
            return read(argument.annotation, declaration.namespace)
        except UsageError as error:
            raise DeclarationError(
                f"{declaration.kind} {declaration.name!r} ({declaration.where}), argument {argument.name!r}: {error.what}",
                known=error.known,
                remedy=error.remedy,
            ) from error

    # Resources

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
        accepts = wants.accepts
        if argument.default is not MISSING:
            problem = "has a default"
        elif not accepts.value or all(cannot_fit(gives, wanted) for wanted in members(accepts.type)):
            problem = f"is annotated {shown(wants.annotation)}"
        if problem:
            raise ResolutionError(
                f"{declaration.kind} {bound.name!r} ({declaration.where}): argument {argument.name!r} {problem}, "
                f"but its name is taken",
                known=f"{name!r} is {kind}: {shown(gives)}",
                remedy="Rename the argument, or ask for what it is.",
            )

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
            loop = path[path.index(step) :]
            first = loop.index(min(loop))  # the same text, whichever of them is asked for
            raise CycleError.along([*loop[first:], *loop[: first + 1]])
        self.errors += declaration.unnamed()
        scope = self._scope(declaration)
        below: dict[str, BoundResource] = {}
        constants: dict[str, object] = {}
        parameters: dict[str, str] = {}
        for argument in declaration.arguments():
            wants = self._read(declaration, argument)
            asked = wants.source or argument.name
            found = self.find(asked, (layer, declaration.name))
            if found is not None and found.input:
                constants[argument.name] = self._input_value(found, asked)
            elif found is None or self._overrides_parameter(found, asked):
                self._declare(f"resource {declaration.name}", declaration, argument, wants, asked)
                parameters[argument.name] = asked
            elif found.override is not None and found.declaration is None:
                below[argument.name] = self._constant_resource(asked, found.override, wants)
            elif isinstance(found.declaration, Resource):
                given = found.declaration.asked_by(scope)
                below[argument.name] = self._resource(given, found.layer, (*path, step), asked, found.plugin)
                self._check_scope(declaration, scope, given, (*path, step), found.plugin)
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
        asking: Declaration, scope: str, asked: Declaration, path: Sequence[tuple[str, str]], plugin: str | None
    ) -> None:
        other = str(asked.options.get("scope", "run"))
        if other in SCOPES and SCOPES.index(other) < SCOPES.index(scope):
            widen = f", or widen {asked.name!r} to scope={scope!r}" if plugin is None else ""
            steps = "\n".join(f"{name}  {where}" for name, where in [*path, (asked.name, asked.where)])
            raise ResolutionError(
                f"resource {asking.name!r} of scope {scope!r} asks for {asked.name!r}, which lives shorter "
                f"(scope {other!r})",
                known=steps,
                remedy=f"Narrow {asking.name!r} to scope={other!r}{widen}.",
            )


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


def in_two_ways(known: Parameter, other: Parameter) -> ParameterError:
    """Return the error for one parameter that is declared in two ways (ruling B10)."""
    both = [f"{p.asked_by} ({p.where}): {as_written(p.annotation, p.default)}" for p in (known, other)]
    return ParameterError(
        f"parameter {known.name!r} is declared in two ways",
        known="\n".join(both),
        remedy="Give both the same annotation and the same default.",
    )


def fits_elements(annotation: object, listed: Any, *, alike: bool = False) -> bool:
    """Whether what a parameter is declared as may hold the elements that an ``each`` over it wants.

    Args:
        annotation: Of the parameter.
        listed: ``list[T]``, with what the elements are wanted as.
        alike: The first is such a guess, too: then both have to say the same.
    """
    if listed == list[Any] or annotation == listed:
        return True
    if alike:
        return False
    held, origin = typing.get_args(annotation), typing.get_origin(annotation)
    if not held or not isinstance(origin, type) or origin is UnionType or (origin is tuple and held[1:] != (...,)):
        return True
    return not cannot_fit(held[0] if held[1:] in ((), (...,)) else held[-1], listed.__args__[0])


def check_literal(source: object, names: Sequence[str], where: str) -> None:
    """Refuse what stands in ``each`` itself where it is no list, or an element cannot be unpacked into arguments.

    Raises:
        OptionError: It is neither.
    """
    try:
        items = checked(source, looks(source))
    except NotAList as error:
        raise OptionError(
            f"{where}: each: {error}", remedy="Name a task or a parameter, or write a list or a dict."
        ) from None
    if len(names) == 1:
        return
    for item in items.values() if isinstance(items, Mapping) else items:
        if not isinstance(item, Iterator) and parts_of(item, len(names)) is None:
            raise OptionError(
                f"{where}: each unpacks an element into {', '.join(names)}, but it is {looks(item)}",
                remedy="Write as many parts in each element.",
            )


def providing(override: Declaration, original: Declaration | None) -> Declaration:
    """Return a function that stands in for a task: it provides what that does, unless it says so itself."""
    provides = original.options.get("provides") if original is not None else None
    if not provides or "provides" in override.options or is_resource(override):
        return override
    return Task(override.function, {**override.options, "name": override.name, "provides": provides})


def check_stand_in(given: BoundTask, original: BoundTask, value: object) -> None:
    """Refuse a value that cannot stand in for a task: for its elements if it is mapped, for the names it provides.

    Raises:
        OptionError: It cannot.
    """
    remedy = "Give what the task returns."
    if not given.elements:
        wrong = next(filter(None, (_lacking(value, names) for names in (given.provides, *given.owes.values()))), "")
    elif isinstance(value, Mapping):
        wrong = ""
    elif not isinstance(value, (list, tuple, Collected)):
        wrong = f"is {a_kind(value)}, but the task is mapped"
        remedy = "Give a list of its elements, or a dict by id."
    else:
        nested = any(inherited_elements(element.axis.source) for element in given.elements)
        wrong = "is a list, but its elements are nested: where one list ends is not known before" if nested else ""
        remedy = "Give a dict by id."
    if wrong:
        raise OptionError(
            f"the override of {given.name!r} {wrong}",
            known=f"{given.name!r} is defined at {original.where}",
            remedy=remedy,
        )


def _lacking(value: object, names: Sequence[str]) -> str:
    """Return what is wrong with a value that stands in for a task that provides names, or ""."""
    if not names:
        return ""
    if isinstance(value, Mapping):
        missing = [name for name in names if name not in value]
        return f"lacks {', '.join(missing)}, which the task provides" if missing else ""
    if isinstance(value, (tuple, list)) and len(value) == len(names):
        return ""
    return f"is {value!r:.80}, but the task provides {', '.join(names)}"


def inherited_elements(task: BoundTask) -> list[Element]:
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
