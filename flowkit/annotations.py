"""How an annotation is read: what an argument accepts of what became of its upstream, and as what.

``T`` wants the value; ``Success[T]``, ``Failure[E]``, ``Skipped``, ``Outcome[T]`` and unions of
them want the outcome; ``Collected[...]`` gathers a mapped task; ``Annotated[T, From("x")]``
names another provider.
"""

from __future__ import annotations

import re
import sys
import types
import typing
from collections.abc import Mapping

from flowkit.errors import DeclarationError
from flowkit.outcomes import Failure, Outcome, Skipped, Success
from flowkit.records import record, replaced
from flowkit.values import Collected


@record(frozen=True)
class From:
    """Names another provider for an argument: ``df: Annotated[DataFrame, From("clean")]``."""

    name: str


@record(frozen=True)
class Accepts:
    """The ways an upstream may have ended for this argument, and what arrives.

    Attributes:
        value: A success arrives as its bare value.
        success: A success arrives as a :class:`Success`.
        failure: Exception classes a failure may have (empty: any), or None: none is accepted.
        skipped: A node that did not run arrives as its :class:`Skipped`.
        type: The T that a value is declared to be; ``typing.Any`` where nothing is known.
    """

    value: bool = True
    success: bool = False
    failure: tuple[type[BaseException], ...] | None = None
    skipped: bool = False
    type: object = typing.Any

    @property
    def plain(self) -> bool:
        """Whether only a success will do, as its bare value."""
        return self.value and self.failure is None and not self.skipped


PLAIN = Accepts()


@record(frozen=True)
class Wants:
    """One argument's annotation, read.

    Attributes:
        accepts: What it takes of its upstream (of each element, if ``collected``).
        collected: Whether it gathers.
        source: The name given by ``From``, or None.
        annotation: The evaluated annotation without ``From``; what a parameter is typed by.
            :data:`MISSING` if there is none.
        problem: Why the annotation could not be evaluated, or None.
    """

    accepts: Accepts
    collected: bool = False
    source: str | None = None
    annotation: object = None
    problem: str | None = None


class _Missing:
    """Stands for an annotation that is not there."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()
NOTHING = Wants(PLAIN, annotation=MISSING)

_known: dict[object, Wants] = {}


def read(annotation: object, namespace: Mapping[str, object]) -> Wants:
    """Return what an annotation asks for.

    Args:
        annotation: The annotation as it stands on the function: an object, or text under
            ``from __future__ import annotations``.
        namespace: The globals of the function's module.

    Raises:
        DeclarationError: It names both a value and ``Success`` or ``Outcome``, or nests ``Collected``.
    """
    problem = None
    if isinstance(annotation, str):
        annotation, problem = _evaluate(annotation, namespace)
    try:
        wants = _known.get(annotation)
    except TypeError:  # unhashable metadata inside Annotated
        wants = None
    if wants is None:
        if _quotes(annotation):  # what a quoted name means depends on the module: it is not remembered
            annotation, problem = _unquoted(annotation, namespace)
            wants = _read(annotation)
            return replaced(wants, problem=problem) if problem else wants
        wants = _read(annotation)
        try:
            _known[annotation] = wants
        except TypeError:
            pass
    return replaced(wants, problem=problem) if problem else wants


def evaluated(annotation: object, namespace: Mapping[str, object]) -> object:
    """Return an annotation as an object; ``typing.Any`` if it cannot be evaluated."""
    if isinstance(annotation, str):
        try:
            annotation, problem = _evaluate(annotation, namespace)
        except DeclarationError:  # only an argument's outcome classes have to be understood
            return typing.Any
        return typing.Any if problem else annotation
    return annotation


def _quotes(annotation: object) -> bool:
    """Whether a name stands in quotes inside an annotation: ``Failure["Refused"]``."""
    return isinstance(annotation, typing.ForwardRef) or any(map(_quotes, typing.get_args(annotation)))


def _unquoted(annotation: object, namespace: Mapping[str, object]) -> tuple[object, str | None]:
    """Return an annotation with its quoted names looked up; as it is, and why, if one cannot be."""
    holder = types.SimpleNamespace(__annotations__={"argument": annotation})
    try:
        # All modules share one Failure["Refused"], which keeps what it was in the first, unless locals are given.
        return typing.get_type_hints(holder, dict(namespace), {}, include_extras=True)["argument"], None
    except Exception as error:
        return annotation, f"{type(error).__name__}: {error}"


class _Lenient(dict[str, object]):
    """A namespace in which a name that is not there (an import for type checkers) is Any."""

    def __init__(self, namespace: Mapping[str, object]) -> None:
        super().__init__(namespace)
        self.missing: list[str] = []

    def __missing__(self, name: str) -> object:
        builtin = getattr(sys.modules["builtins"], name, None)
        if builtin is not None:
            return builtin
        self.missing.append(name)
        return _Unknown()


class _Unknown:
    """What stands behind a name that cannot be looked up: any attribute, any subscript, any union."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, item: object) -> object:
        return self

    def __call__(self) -> None:
        """Callable, as typing demands of what stands in a union."""

    def __or__(self, other: object) -> object:
        return typing.Union[self, other]  # noqa: UP007 - built at run time from objects

    def __ror__(self, other: object) -> object:
        return typing.Union[other, self]  # noqa: UP007 - as above

    def __hash__(self) -> int:
        return id(self)


def _evaluate(text: str, namespace: Mapping[str, object]) -> tuple[object, str | None]:
    """Return an annotation as an object, and what was wrong with it; in quotes under the import from ``__future__``, it is text twice."""
    found, problem = _evaluate_once(text, namespace)
    return _evaluate(found, namespace) if isinstance(found, str) else (found, problem)


def _evaluate_once(text: str, namespace: Mapping[str, object]) -> tuple[object, str | None]:
    try:
        return eval(text, dict(namespace)), None  # noqa: S307 - the user's own annotation, in their module
    except Exception as error:
        first = f"{type(error).__name__}: {error}"
    lenient = _Lenient(namespace)
    try:
        # Globals must be a real dict for the look-up to be in C; locals may be a mapping, and know the builtins.
        # Python's own are there, too: from 3.13 on, putting types together imports ``typing`` by them.
        return eval(text, {}, lenient), first  # noqa: S307 - the same text once more, with stand-ins for what it cannot find
    except Exception:
        if _NAMES_AN_OUTCOME.search(text):
            raise DeclarationError(
                f"{text}: cannot be evaluated",
                known=first,
                remedy="What an argument takes has to be known: mend its annotation.",
            ) from None
        return typing.Any, first


_NAMES_AN_OUTCOME = re.compile(r"\b(Success|Failure|Skipped|Outcome|Collected)\b")


def _read(annotation: object) -> Wants:
    if annotation is MISSING:
        return NOTHING
    source = None
    if typing.get_origin(annotation) is typing.Annotated:
        base, *metadata = typing.get_args(annotation)
        named = [m for m in metadata if isinstance(m, From)]
        if named:
            source = _named(named[-1])
            rest = tuple(m for m in metadata if not isinstance(m, From))
            annotation = typing.Annotated.__class_getitem__((base, *rest)) if rest else base
        inner = base
    else:
        inner = annotation
    origin = typing.get_origin(inner)
    if inner is Collected or origin is Collected:
        _refuse_nested(annotation, *typing.get_args(inner))
        args = typing.get_args(inner)
        return Wants(_accepts(args[0] if args else typing.Any), collected=True, source=source, annotation=annotation)
    _refuse_nested(annotation, inner)
    return Wants(_accepts(inner), source=source, annotation=annotation)


def _named(source: From) -> str:
    """Return the name that a ``From`` gives.

    Raises:
        DeclarationError: It gives none.
    """
    name: object = source.name
    if isinstance(name, str) and name:
        return name
    meant = getattr(name, "__name__", "name")
    raise DeclarationError(f"From({name!r}): not the name of anything", remedy=f'Write it as text: From("{meant}").')


def _refuse_nested(whole: object, *inner: object) -> None:
    """Refuse a ``Collected`` as a member of a union, or within an outcome: it gathers only where it stands outermost."""
    for member in [m for each in inner for m in members(each)]:
        origin = typing.get_origin(member) or member
        if origin is Collected:
            raise DeclarationError(
                f"{_text(whole)}: a Collected inside of something else",
                remedy="Collected gathers all open axes at once, and stands outermost: write Collected[T], "
                "or Collected[Outcome[T]] for what became of each.",
            )
        if origin is Success or origin is Outcome:
            _refuse_nested(whole, *typing.get_args(member))


def members(annotation: object) -> tuple[object, ...]:
    """Return the members of a union; anything else is the one member of itself."""
    origin = typing.get_origin(annotation)
    if origin is typing.Union or origin is types.UnionType:
        return typing.get_args(annotation)
    return (annotation,)


def _accepts(annotation: object) -> Accepts:
    """Return what ``annotation`` (without Collected) takes of an upstream."""
    plain: list[object] = []
    success = whole = skipped = False
    failure: tuple[type[BaseException], ...] | None = None
    inner: object = typing.Any
    for member in members(annotation):
        origin = typing.get_origin(member) or member
        args = typing.get_args(member)
        if origin is Success:
            success = True
            inner = args[0] if args else typing.Any
        elif origin is Failure:
            failure = _merge(failure, _exceptions(args[0]) if args else ())
        elif origin is Skipped:
            skipped = True
        elif origin is Outcome:
            whole = True
            inner = args[0] if args else typing.Any
        else:
            plain.append(member)
    if (whole or success) and plain:
        other = "Outcome" if whole else "Success"
        raise DeclarationError(
            f"{_text(annotation)}: names both a value and {other}",
            remedy=f"A success arrives either as its value or as {'an' if other == 'Outcome' else 'a'} {other}: keep one of the two.",
        )
    if whole:
        return Accepts(value=False, success=True, failure=(), skipped=True, type=inner)
    if plain:
        inner = plain[0] if len(plain) == 1 else typing.Union[tuple(plain)]  # noqa: UP007 - built at run time from objects
    return Accepts(value=bool(plain), success=success, failure=failure, skipped=skipped, type=inner)


def _merge(
    one: tuple[type[BaseException], ...] | None, two: tuple[type[BaseException], ...]
) -> tuple[type[BaseException], ...]:
    if one is None:
        return two
    return () if not one or not two else one + two


def _exceptions(annotation: object) -> tuple[type[BaseException], ...]:
    """Return the classes of ``Failure[A | B]``; () means any (an unknown name included)."""
    classes = members(annotation)
    if all(isinstance(c, type) and issubclass(c, BaseException) for c in classes):
        return typing.cast("tuple[type[BaseException], ...]", classes)
    if any(isinstance(c, (_Unknown, typing.TypeVar, typing.ForwardRef)) or c is typing.Any for c in classes):
        return ()
    raise DeclarationError(
        f"Failure[{_text(annotation)}]: not an exception class",
        remedy="Name the exception classes this argument handles: Failure[ConnectionError].",
    )


def text(annotation: object) -> str:
    """Return an annotation as a user would write it."""
    return _text(annotation)


def _text(annotation: object) -> str:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation.__name__
    return repr(annotation).replace("typing.", "").replace("flowkit.outcomes.", "").replace("flowkit.values.", "")


_NUMBERS = (bool, int, float, complex)


def cannot_fit(given: object, wanted: object) -> bool:
    """Return whether a value declared as ``given`` can surely not be a ``wanted``.

    Only plain classes are judged (ruling B13): unrelated by inheritance, not both numbers, and
    neither a protocol or an abstract class, which may be met without inheritance.
    """
    one, two = _judged(given), _judged(wanted)
    if one is None or two is None or (one in _NUMBERS and two in _NUMBERS):
        return False
    try:
        return not (issubclass(one, two) or issubclass(two, one))
    except Exception:  # a metaclass may answer as it likes, or not at all
        return False


def _judged(annotation: object) -> type | None:
    """Return the class that the values of an annotation have, or None where that is not for certain."""
    if annotation is None:
        return type(None)
    if typing.is_typeddict(annotation):
        return dict
    if not isinstance(annotation, type) or isinstance(annotation, types.GenericAlias):
        return None
    if getattr(annotation, "_is_protocol", False) or hasattr(annotation, "__abstractmethods__"):
        return None
    return None if typing.Any in annotation.__mro__ else annotation  # typing.Any is a class, and fits everything
