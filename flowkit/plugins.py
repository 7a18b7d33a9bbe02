"""Plugins: where they come from, how hooks are called, and who is to blame when one raises."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType, ModuleType
from typing import Any

import pluggy

from flowkit import hookspecs
from flowkit.declarations import Declaration
from flowkit.errors import FlowError, OptionError, PluginError, UsageError, did_you_mean, listing
from flowkit.tasks import declared

GROUP = "flowkit"
BUILT_IN = "flowkit_plugins"
DISABLE = "FLOWKIT_DISABLE_PLUGIN_AUTOLOAD"


class _Manager(pluggy.PluginManager):
    """Looks at nothing but names of hooks: pluggy examines every attribute of a module, 15 µs each."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        return super().parse_hookimpl_opts(plugin, name) if name.startswith("flowkit_") else None

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return super().parse_hookspec_opts(module_or_class, name) if name.startswith("flowkit_") else None


class Plugins:
    """The plugins of one session.

    Order of loading: ``-p no:NAME`` blocks first; then the built-ins, by dotted name; then entry
    points of installed distributions; then ``-p NAME``; then ``flowconf.py`` files, the outermost
    first. Of two implementations the one loaded last is called first.
    """

    def __init__(self) -> None:
        self.manager = _Manager("flowkit")
        self.manager.add_hookspecs(hookspecs)
        self.requests: list[str] = []
        self.used = False  #: by a session, which registers what it keeps here
        self.names: list[str] = []
        self.origins: dict[str, str] = {}
        self.blocked: list[str] = []

    def load(self, requests: Sequence[str] = (), places: Mapping[str, str] = MappingProxyType({})) -> None:
        """Load built-ins, entry points and what ``requests`` name: values of ``-p``, or of the setting.

        Args:
            requests: What is asked for.
            places: Request → where, if not with ``-p``.

        Raises:
            OptionError: A requested plugin is not there, or cannot be imported.
        """
        self.requests = list(requests)
        package = importlib.import_module(BUILT_IN)
        built_in: Sequence[str] = package.BUILT_IN
        self.blocked = [r.removeprefix("no:") for r in requests if r.startswith("no:")]
        wanted = [r for r in requests if not r.startswith("no:")]
        said = {r: f"{places[r]}: {r}" if r in places else f"-p {r if r.strip() else repr(r)}" for r in requests}
        for name in built_in:
            if name not in self.blocked:
                self._add(name, importlib.import_module(f"{BUILT_IN}.{name}"), "built in")
        found: dict[str, str] = {}
        if not os.environ.get(DISABLE):
            found = self._load_entry_points()
        for name in self.blocked:
            if name not in built_in and name not in found and not self.manager.has_plugin(name):
                raise OptionError.unknown("plugin", name, said[f"no:{name}"], [*built_in, *found])
        for name in wanted:
            if name not in self.names:
                self._load_named(name, [*built_in, *found], said[name])

    def _load_named(self, name: str, known: Sequence[str], said: str) -> None:
        if not name.strip():
            raise OptionError(
                f"{said} names no plugin", known=f"known: {listing(known)}", remedy="Name one, or leave it out."
            )
        try:
            module = importlib.import_module(name)
        except ImportError as error:
            raise OptionError(
                f"{said}: there is no plugin and no module of that name ({error})",
                known=f"known: {listing(known)}",
                remedy=did_you_mean(name, known, "Install it, or put its folder on PYTHONPATH."),
            ) from error
        except Exception as error:
            raise OptionError(
                f"{said}: cannot be imported: {type(error).__name__}: {error}",
                remedy="Name an importable module, and mend it if it is one.",
            ) from error
        self._add(name, module, said)

    def _load_entry_points(self) -> dict[str, str]:
        """Load installed plugins; return name → distribution of all there are."""
        if not any(_may_have_entry_points(folder) for folder in sys.path):
            return {}
        from importlib import metadata  # 25 ms: only when a distribution names our group

        found: dict[str, str] = {}
        for distribution in metadata.distributions():
            for entry in distribution.entry_points:
                if entry.group != GROUP or entry.name in found:
                    continue
                found[entry.name] = distribution.metadata["Name"]
                if entry.name in self.blocked or entry.name in self.names:
                    continue
                try:
                    plugin = entry.load()
                except Exception as error:
                    raise OptionError(
                        f"plugin {entry.name!r} of {found[entry.name]} cannot be imported: "
                        f"{type(error).__name__}: {error}",
                        remedy=f"Repair or remove {found[entry.name]}, or run with -p no:{entry.name}.",
                    ) from error
                self._add(entry.name, plugin, found[entry.name])
        return found

    def _add(self, name: str, plugin: object, origin: str) -> None:
        self.register(plugin, name)
        self.names.append(name)
        self.origins[name] = origin

    def add_flowconf(self, module: ModuleType, path: str) -> list[OptionError]:
        """Register the hooks of a ``flowconf.py``, and return what is wrong; it is a plugin only if it has some."""
        has_hooks = any(getattr(value, "flowkit_impl", None) for value in vars(module).values())
        if not has_hooks or self.manager.has_plugin(path):
            return []
        try:
            self._add(path, module, "flowconf.py")
        except OptionError as error:
            return [error]
        return self.check()

    def register(self, plugin: object, name: str) -> None:
        """Add a plugin object; plugins use it for the object that keeps their state in a session."""
        if self.manager.is_registered(plugin):
            return  # named twice: as a built-in and by its module, say
        try:
            self.manager.register(plugin, name)
        except pluggy.PluginValidationError as error:
            raise OptionError(f"plugin {name!r}: {error}", remedy="Mend its signature; docs: hooks.") from error

    def check(self) -> list[OptionError]:
        """Return an error for each implementation that is for no hook of flowkit's, or would have to be awaited."""
        errors = []
        specs = [name for name in vars(hookspecs) if name.startswith("flowkit_")]
        for name, plugin in self.manager.list_name_plugin():
            for attribute in dir(plugin):
                if not attribute.startswith("flowkit_"):
                    continue
                function = getattr(plugin, attribute, None)
                if getattr(function, "flowkit_impl", None) is None:
                    continue
                if attribute not in specs:
                    errors.append(OptionError.unknown("hook", attribute, f"plugin {name!r}", specs))
                elif inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                    problem = f"plugin {name!r}: {attribute} is an async def, and hooks are not awaited"
                    errors.append(OptionError(problem, remedy="Write def; asyncio.run(…) in it runs a coroutine."))
        return errors

    def resources(self) -> dict[str, tuple[Declaration, str]]:
        """Return the tasks and resources that plugins bring: name → (declaration, plugin)."""
        found: dict[str, tuple[Declaration, str]] = {}
        for name in self.names:
            if self.origins[name] == "flowconf.py":
                continue  # those are looked up as flowconf's, nearest first
            plugin = self.manager.get_plugin(name)
            for attribute, value in vars(plugin).items() if hasattr(plugin, "__dict__") else ():
                declaration = declared(value)
                if declaration is not None and getattr(value, "__module__", None) == getattr(plugin, "__name__", None):
                    found[declaration.name if declaration.renamed else attribute] = (declaration, name)
        return found

    def all(self, hook: str, **arguments: object) -> list[tuple[str, Any]]:
        """Call a hook and return (plugin, answer) for every answer that is not None.

        Called as pluggy does, the one registered last first, ``tryfirst`` and ``trylast`` honoured;
        answers are in the order of registration, built-ins first.

        Raises:
            FlowError: The ``OptionError`` of each implementation that raised one.
            PluginError: One raised anything else.
        """
        caller = getattr(self.manager.hook, hook)
        answers = []
        wrong: list[UsageError] = []
        for impl in reversed(caller.get_hookimpls()):
            try:
                answer = impl.function(*[arguments[name] for name in impl.argnames])
            except OptionError as error:
                wrong.append(error)
            except Exception as error:
                if wrong:
                    break  # it may not have been ready for what is wrong
                raise PluginError(impl.plugin_name, hook, error) from error
            else:
                if answer is not None:
                    answers.append((impl.plugin_name, answer))
        if wrong:
            raise FlowError(wrong[::-1])
        answers.reverse()
        return answers

    def passed_on(self, hook: str, name: str, value: Any, **arguments: object) -> Any:
        """Call a hook whose answer replaces one of its arguments for those that are asked after it.

        Args:
            hook: The hook.
            name: The argument that is replaced.
            value: What it is at first.
            arguments: The others.

        Returns:
            What is left of ``value`` in the end; an answer of None changes nothing.
        """
        for impl in reversed(getattr(self.manager.hook, hook).get_hookimpls()):
            given = {**arguments, name: value}
            try:
                answer = impl.function(*[given[n] for n in impl.argnames])
            except Exception as error:
                raise PluginError(impl.plugin_name, hook, error) from error
            value = value if answer is None else answer
        return value

    def has(self, hook: str) -> bool:
        """Whether anybody implements a hook."""
        return bool(getattr(self.manager.hook, hook).get_hookimpls())

    def alone(self, hook: str, beside: str) -> bool:
        """Whether one plugin alone implements ``hook``, and it (and nobody else) implements ``beside``."""
        plugins = [i.plugin for name in (hook, beside) for i in getattr(self.manager.hook, name).get_hookimpls()]
        return len(plugins) == 2 and plugins[0] is plugins[1]

    def caller(self, hook: str, first: bool = False) -> Callable[..., Any] | None:
        """Return a function that calls a hook with positional arguments; None if nobody implements it.

        pluggy's own call costs 1 to 3 µs, and these are called for every node: implementers are
        looked up once per run and called one after another, the one registered last first.
        """
        caller = getattr(self.manager.hook, hook)
        impls = list(reversed(caller.get_hookimpls()))
        if not impls:
            return None
        if any(i.hookwrapper or i.wrapper for i in impls):
            return _through_pluggy(caller, hook)
        names = caller.spec.argnames
        calls = [(_adapted(i.function, i.argnames, names), i.plugin_name) for i in impls]
        return _first(calls, hook) if first else _each(calls, hook, len(names))

    def bare(self, hook: str) -> Callable[..., None] | None:
        """Return a function that calls a hook whose exceptions belong to the caller; None if nobody has it."""
        caller = getattr(self.manager.hook, hook)
        impls = [
            _adapted(i.function, i.argnames, caller.spec.argnames)
            for i in reversed(caller.get_hookimpls())
        ]
        if not impls:
            return None

        def call(*arguments: object) -> None:
            for function in impls:
                function(*arguments)

        return call

    def wrappers(self, hook: str) -> list[tuple[Callable[[Any], Any], str]]:
        """Return the wrapper implementations of a one-argument hook, outermost first, with their plugins."""
        caller = getattr(self.manager.hook, hook)
        return [
            (_adapted(i.function, i.argnames, caller.spec.argnames), i.plugin_name)
            for i in reversed(caller.get_hookimpls())
            if i.wrapper
        ]


def _adapted(function: Callable[..., Any], takes: Iterable[str], given: Sequence[str]) -> Callable[..., Any]:
    """Return ``function`` callable with all arguments of the hook, in order."""
    takes = tuple(takes)
    if takes == tuple(given):
        return function
    places = [given.index(name) for name in takes]
    return lambda *arguments: function(*[arguments[p] for p in places])


def _each(calls: Sequence[tuple[Callable[..., Any], str]], hook: str, count: int) -> Callable[..., None]:
    def each(*arguments: object) -> None:
        for function, name in calls:
            try:
                function(*arguments)
            except Exception as error:
                raise PluginError(name, hook, error) from error

    def each_with(argument: object) -> None:
        """Call them as Python does quickest: all hooks of a node take one argument."""
        for function, name in calls:
            try:
                function(argument)
            except Exception as error:
                raise PluginError(name, hook, error) from error

    return each_with if count == 1 else each


def _first(calls: Sequence[tuple[Callable[..., Any], str]], hook: str) -> Callable[..., Any]:
    def first(*arguments: object) -> Any:
        for function, name in calls:
            try:
                answer = function(*arguments)
            except Exception as error:
                raise PluginError(name, hook, error) from error
            if answer is not None:
                return answer
        return None

    return first


def _through_pluggy(caller: Any, hook: str) -> Callable[..., Any]:
    names = caller.spec.argnames

    def call(*arguments: object) -> Any:
        try:
            return caller(**dict(zip(names, arguments, strict=True)))
        except Exception as error:
            raise PluginError("?", hook, error) from error

    return call


#: Folder → when it was changed last, and whether it held such a distribution then.
_looked: dict[str, tuple[int, bool]] = {}


def _may_have_entry_points(folder: str) -> bool:
    """Whether a folder of ``sys.path`` holds a distribution with an entry point in our group."""
    try:
        changed = os.stat(folder or ".").st_mtime_ns
    except OSError:
        return False
    known = _looked.get(folder)
    if known is None or known[0] != changed:
        known = _looked[folder] = (changed, _has_entry_points(folder))
    return known[1]


def _has_entry_points(folder: str) -> bool:
    """Whether a folder of ``sys.path`` holds a distribution with an entry point in our group.

    Reading the small files ourselves costs 2 ms for a hundred distributions;
    ``importlib.metadata`` alone takes 25 ms to import, and is left for when there is something.
    """
    try:
        with os.scandir(folder or ".") as entries:
            names = [e.path for e in entries if e.name.endswith((".dist-info", ".egg-info"))]
    except OSError:
        return False
    for name in names:
        try:
            with open(os.path.join(name, "entry_points.txt"), "rb") as file:
                if f"[{GROUP}]".encode() in file.read():
                    return True
        except OSError:
            continue
    return False
