"""What a decorated function says of itself: its arguments, and where it stands."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Mapping
from functools import partial
from types import CodeType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, NoReturn

from flowkit.annotations import MISSING
from flowkit.errors import DeclarationError

if TYPE_CHECKING:
    import inspect

VARARGS, VARKEYWORDS = 0x04, 0x08  # of a code object's co_flags
GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x200


class Nothing(dict[Any, Any]):
    """A dict without entries: one for all that have none, as 10,000 tasks would make eight each.

    It can be read as any dict can; who wants to write makes one of its own.
    """

    def _refuse(self, *arguments: object, **named: object) -> NoReturn:
        """Refuse to be written into."""
        raise TypeError("this dict is everybody's and stays empty: assign a new one")

    __setitem__ = setdefault = update = __ior__ = _refuse


NOTHING = Nothing()


class Argument:
    """One argument of a task or resource, as written.

    Attributes:
        name: Its name.
        annotation: As it stands on the function (text under postponed evaluation), or ``MISSING``.
        default: Its default, or ``MISSING``.
    """

    __slots__ = ("annotation", "default", "name")

    def __init__(self, name: str, annotation: object = MISSING, default: object = MISSING) -> None:
        self.name = name
        self.annotation = annotation
        self.default = default


def place(function: Callable[..., object]) -> str:
    """Return ``file:line`` of a function, the file relative to the working directory where it lies below."""
    code = code_of(function)
    return f"{short_path(code.co_filename)}:{code.co_firstlineno}" if code else "?"


def short_path(path: str) -> str:
    """Return a path relative to the working directory if it lies below, else as it is."""
    here = os.getcwd() + os.sep
    return path.removeprefix(here)


def innermost(function: object) -> object:
    """Return what a user wrote under further decorators; a function that says it wraps itself is the last."""
    passed: list[object] = []
    while (inner := getattr(function, "__wrapped__", None)) is not None:
        passed.append(function)
        if any(inner is one for one in passed):
            break
        function = inner
    return function


def code_of(function: Callable[..., object]) -> CodeType | None:
    """Return the code object of what a user wrote, looking through wrappers."""
    return getattr(written(function), "__code__", None)


def written(function: object) -> object:
    """Return the function behind wrappers, partials, methods and objects that can be called, as far as there is one."""
    seen: Any = innermost(function)
    while type(seen) is not FunctionType:
        inner: Any
        if isinstance(seen, partial):
            inner = seen.func
        elif isinstance(seen, MethodType):
            inner = seen.__func__
        else:
            inner = getattr(type(seen), "__call__", None)  # noqa: B004 - what it is, not whether
            if type(inner) is not FunctionType:
                break
        seen = innermost(inner)
    return seen


def _plain(function: object) -> FunctionType | None:
    """Return a function whose code says all of its signature."""
    return function if type(function) is FunctionType and not hasattr(function, "__wrapped__") else None


class Declaration:
    """A function under a decorator of flowkit's, with the options written there.

    Attributes:
        function: The function itself, untouched.
        name: The name others ask for.
        options: The decorator's keyword arguments as written.
    """

    __slots__ = ("_arguments", "_inspected", "function", "name", "options", "renamed")

    kind = "declaration"

    def __init__(self, function: Callable[..., Any], options: dict[str, object]) -> None:
        self.function = function
        self.options = options
        self._arguments: tuple[Argument, ...] | None = None
        self._inspected: Collection[inspect.Parameter] | None = None
        name = options.pop("name", None) if options else None
        if name is None:
            self.renamed = False
            self.name: str = function.__name__
        else:
            self.renamed = True
            self.name = name  # type: ignore[assignment]  # checked later

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} at {self.where}>"

    @property
    def where(self) -> str:
        """``file:line`` of the definition."""
        return place(self.function)

    @property
    def doc(self) -> str:
        """The first line of the docstring, or nothing."""
        lines = (self.function.__doc__ or "").strip().splitlines()
        return lines[0].strip() if lines else ""

    @property
    def namespace(self) -> Mapping[str, object]:
        """The globals in which annotations are evaluated."""
        found: Mapping[str, object] = getattr(written(self.function), "__globals__", {})
        return found

    @property
    def flags(self) -> int:
        """The code object's flags (generator, coroutine …); 0 where there is none."""
        code = code_of(self.function)
        return code.co_flags if code else 0

    @property
    def is_async(self) -> bool:
        """Whether calling it gives a coroutine or an async generator."""
        return bool(self.flags & (COROUTINE | ASYNC_GENERATOR))

    @property
    def is_generator(self) -> bool:
        """Whether it yields."""
        return bool(self.flags & (GENERATOR | ASYNC_GENERATOR))

    def arguments(self) -> tuple[Argument, ...]:
        """Return the arguments in order, those without a name of their own (``unnamed``) left out.

        Raises:
            DeclarationError: It cannot be asked for them.
        """
        if self._arguments is None:
            # The plain case is read from the code object: inspect.signature costs 9 µs a function.
            plain = _plain(self.function)
            self._arguments = self._from_code(plain) if plain is not None else self._from_signature()
        return self._arguments

    def _refuse(self, what: str, remedy: str) -> DeclarationError:
        return DeclarationError(f"{self.kind} {self.name!r} ({self.where}) {what}", remedy=remedy)

    def _from_code(self, function: FunctionType) -> tuple[Argument, ...]:
        code = function.__code__
        count, total = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
        if not total:
            return ()
        names = code.co_varnames
        hints = function.__annotations__
        defaults = function.__defaults__ or ()
        first = count - len(defaults)
        keywords = function.__kwdefaults__ or {}
        found = [
            Argument(names[i], hints.get(names[i], MISSING), defaults[i - first] if i >= first else MISSING)
            for i in range(code.co_posonlyargcount, count)
        ]
        found += [
            Argument(names[i], hints.get(names[i], MISSING), keywords.get(names[i], MISSING))
            for i in range(count, total)
        ]
        return tuple(found)

    def _from_signature(self) -> tuple[Argument, ...]:
        found = []
        for parameter in self._signature():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                continue
            hint = MISSING if parameter.annotation is parameter.empty else parameter.annotation
            default = MISSING if parameter.default is parameter.empty else parameter.default
            found.append(Argument(parameter.name, hint, default))
        return tuple(found)

    def _signature(self) -> Collection[inspect.Parameter]:
        if self._inspected is not None:
            return self._inspected
        import inspect  # only wrapped or unusual callables come here

        try:
            self._inspected = inspect.signature(self.function).parameters.values()
            return self._inspected
        except (TypeError, ValueError) as error:  # some of those written in C say nothing of their arguments
            raise self._refuse(f"cannot be asked for its arguments: {error}", "Write a function that calls it.") from None

    def positional(self) -> tuple[str, ...]:
        """Return the names of positional-only arguments, which are of no use."""
        plain = _plain(self.function)
        if plain is not None:
            return plain.__code__.co_varnames[: plain.__code__.co_posonlyargcount]
        return tuple(p.name for p in self._signature() if p.kind is p.POSITIONAL_ONLY)

    def unnamed(self) -> list[DeclarationError]:
        """Return what is wrong with arguments that have no names to ask by."""
        plain = _plain(self.function)
        if plain is not None:
            starred = bool(plain.__code__.co_flags & (VARARGS | VARKEYWORDS))
        else:
            starred = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in self._signature())
        errors = []
        if self.positional():
            what = "has positional-only arguments, which have no names to ask by"
            errors.append(self._refuse(what, "Take the '/' out of its signature."))
        if starred:
            what = "takes *args or **kwargs, whose names say nothing"
            errors.append(self._refuse(what, "Name each argument: its name says what is handed over."))
        return errors

    def asks(self) -> set[str]:
        """Return every name that it may ask for, whether it is declared rightly or not."""
        try:
            arguments, found = self.arguments(), set(self.positional())
        except DeclarationError:
            arguments, found = (), set()
        each = self.options.get("each")
        found |= {argument.name for argument in arguments}
        found |= {source for source in each.values() if isinstance(source, str)} if isinstance(each, Mapping) else set()
        return found | {name for a in arguments for name in re.findall(r"From\((?:name=)?['\"]([^'\"]+)", f"{a.annotation}")}
