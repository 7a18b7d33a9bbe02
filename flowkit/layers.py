"""What one module makes visible: declarations by name, and those that no name of the module leads to."""

from __future__ import annotations

from types import ModuleType

from flowkit.declarations import Declaration
from flowkit.errors import DeclarationError, UsageError
from flowkit.flows import Flow
from flowkit.imports import declared_in
from flowkit.records import field, record
from flowkit.tasks import MARK, declared

_NOT_IN_NAMES = frozenset("[]:")


@record()
class Layer:
    """Names that one module makes visible.

    Attributes:
        where: The file, or the plugins.
        names: Name → declaration.
        own: Names that are defined there, in definition order (not imported).
        flow: The module's ``Flow``, if it has one.
    """

    where: str
    names: dict[str, Declaration] = field(factory=dict)
    own: list[str] = field(factory=list)
    flow: Flow | None = None
    module: ModuleType | None = None


def read_layer(module: ModuleType, where: str, errors: list[UsageError]) -> Layer:
    """Return the declarations that a module makes visible, and its Flow.

    Args:
        module: The module.
        where: The file, or the plugins.
        errors: Takes a second flow, and names that cannot be.
    """
    layer = Layer(where, module=module)
    names, own, here = layer.names, layer.own, module.__name__
    for attribute, value in list(vars(module).items()):
        if type(value) is Flow:
            if layer.flow is not None and layer.flow is not value:
                two = f"{where} has two flows: {layer.flow!r} and {value!r}"
                places = f"{layer.flow.where}\n{value.where}"
                errors.append(DeclarationError(two, known=places, remedy="A module is one flow: keep one."))
            layer.flow = value
            continue
        declaration = declared(value)
        if declaration is None:
            continue
        name = declaration.name if declaration.renamed else attribute
        if not _well_named(declaration, name, errors):
            name = attribute
        if name != declaration.name:  # imported under another name: known by that here
            copy = type(declaration)(declaration.function, dict(declaration.options))
            copy.name = name
            declaration = copy
        names[name] = declaration
        if getattr(value, "__module__", here) == here:
            own.append(name)
    return layer


def _can_be_a_name(text: str) -> bool:
    return bool(text.strip()) and _NOT_IN_NAMES.isdisjoint(text)


def _well_named(declaration: Declaration, name: object, errors: list[UsageError]) -> bool:
    if isinstance(name, str) and (name.isidentifier() or _can_be_a_name(name)):
        return True
    what = f"{declaration.kind} at {declaration.where}: its name is {name!r}"
    errors.append(DeclarationError(what, remedy="A name is text, not empty, without brackets and colons."))
    return False


def take_in_unnamed(layer: Layer, errors: list[UsageError], notes: list[str]) -> None:
    """Add what the module declared though no name leads there: tasks made in a loop, or kept in a list.

    Args:
        layer: What was read by name.
        errors: Takes two definitions of one name.
        notes: Takes what is left out, and why.
    """
    assert layer.module is not None  # it was just read
    made = [d for d in declared_in(layer.module) if not d.renamed or _well_named(d, d.name, errors)]
    twice = _defined_twice(made, errors) if len({declaration.name for declaration in made}) < len(made) else set()
    shown = {id(declaration.function) for declaration in layer.names.values()}
    unnamed = [declaration for declaration in made if id(declaration.function) not in shown]
    if not unnamed:
        return
    attributes = vars(layer.module)
    # A decorator above ours made something else of it, and passed the mark on.
    marks = {id(getattr(value, "__dict__", {}).get(MARK)) for value in attributes.values()}
    for declaration in unnamed:
        name, kind = declaration.name, declaration.kind
        if id(declaration) in marks or name in twice:
            continue
        scope, dot, _ = getattr(declaration.function, "__qualname__", "").rpartition(".")
        if not _well_named(declaration, name, errors):
            continue
        if dot and not scope.endswith("<locals>"):
            notes.append(f"{kind} `{name}` ({declaration.where}) is left out: it is defined in class `{scope}`")
        elif name in layer.names:
            errors.append(_two_definitions(layer.names[name], declaration, "Name each: @task(name=...)."))
        elif name in attributes:
            notes.append(
                f"{kind} `{name}` ({declaration.where}) is left out: the module's `{name}` is something else. "
                f"A decorator above @{kind} needs functools.wraps"
            )
        else:
            layer.names[name] = declaration
            layer.own.append(name)


def _defined_twice(made: list[Declaration], errors: list[UsageError]) -> set[str]:
    """Return the names that are defined twice at module level, and say so."""
    first: dict[str, Declaration] = {}
    twice = set()
    for declaration in made:
        if "<locals>" in getattr(declaration.function, "__qualname__", ""):
            continue
        other = first.setdefault(declaration.name, declaration)
        if other is not declaration:
            twice.add(declaration.name)
            errors.append(_two_definitions(other, declaration, "Rename one of them."))
    return twice


def _two_definitions(one: Declaration, other: Declaration, remedy: str) -> DeclarationError:
    return DeclarationError(
        f"two definitions of {other.name!r} in one module",
        known=f"{one.kind} at {one.where}\n{other.kind} at {other.where}",
        remedy=remedy,
    )
