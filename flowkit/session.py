"""Settings → plugins → collect → resolve → run → report."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TextIO

from flowkit import imports, overriding
from flowkit import settings as settings_
from flowkit.axes import assign_axes, misfits
from flowkit.clock import Clock, SystemClock
from flowkit.collector import CollectedFlow, Collector
from flowkit.declarations import NOTHING
from flowkit.errors import (
    FlowError,
    NothingToRun,
    OptionError,
    PluginError,
    SelectionError,
    UsageError,
    did_you_mean,
    listing,
)
from flowkit.executors import Executor
from flowkit.executors.local import LOCAL
from flowkit.garbage import no_garbage
from flowkit.graph import Axis, BoundFlow, BoundTask, Graph, sorted_upstream_first
from flowkit.hookspecs import Flag, Option
from flowkit.lookup import Override, Surroundings
from flowkit.nesting import stoppable
from flowkit.options import iterate_errors
from flowkit.parameters import Given, Parameter, Sources
from flowkit.plugins import Plugins
from flowkit.reports import RunInfo
from flowkit.resolver import Resolver
from flowkit.runner import Runner
from flowkit.runs import Run, check_exact
from flowkit.scheduler import Scheduler
from flowkit.secrets import command_without, holds_secret, masking
from flowkit.selection import Selection, choose, needed
from flowkit.services import Before
from flowkit.settling import settle_flow
from flowkit.targets import Target, parse
from flowkit.wants import axis_filters, only_some

if TYPE_CHECKING:
    from flowkit.planning import Decision

#: Loading modules changes sys.path and sys.modules: one session at a time.
_loading = threading.RLock()

#: Keywords of ``flowkit.run`` and flags of ``flowkit run`` that belong to the core.
CORE_FLAGS = ("k", "m", "deselect", "n", "executor", "x", "maxfail", "p")


class Session:
    """One use of flowkit: its settings, plugins, and the flows it was pointed at.

    Attributes:
        root: The root folder.
        settings: What is set there.
        plugins: The plugins.
        flags: Keyword → value, of plugins' flags and the core's.
        services: What plugins offer each other, by type.
        clock: The one door to time.
        random: The one door to chance.
        out: Where a report for people goes, or None.
        command: What the user typed.
        scheduled_at: The time the run is for.
        collected, selected: How many tasks could be targets, and how many of them are.
        notes: What is worth a word of what was collected.
    """

    def __init__(
        self,
        targets: Sequence[object],
        *,
        plugin_requests: Sequence[str] = (),
        out: TextIO | None = None,
        clock: Clock | None = None,
        seed: int | None = None,
        command: str = "",
        scheduled_at: datetime | None = None,
        plugins: Plugins | None = None,
        executors: Mapping[str, Callable[[int], Executor]] | None = None,
    ) -> None:
        self.clock: Clock = clock or SystemClock()
        self.random = random.Random(seed)
        self.out = out
        self.command = command
        self.services: dict[type, Any] = {}
        self.flags: dict[str, Any] = {}
        self.scheduled_at = scheduled_at or self.clock.wall().astimezone()
        self.collected = self.selected = 0
        self.executor_name, self.slots = "threads", 1
        self.executors: dict[str, Callable[[int], Executor]] = dict(LOCAL)
        self.executors.update(executors or {})
        self.notes: list[str] = []
        self.targets: list[Target] = []
        errors: list[UsageError] = []
        for target in targets:
            try:
                self.targets.append(parse(target))
            except UsageError as error:
                errors.append(error)
        _raise_all(errors)
        self.settings = settings_.find(_folders(self.targets))
        self.root = self.settings.root
        requests = [*self.settings.plugins, *plugin_requests]
        if plugins is not None and not plugins.used and plugins.requests == requests:
            self.plugins = plugins
        else:
            self.plugins = Plugins()
            _raise_all_of(lambda: self.plugins.load(requests))
        self.plugins.used = True
        self._configured = False
        self._importer: imports.Importer | None = None
        self.graph: Graph | None = None
        self.parameters: dict[BoundFlow, dict[str, Parameter]] = {}
        self._resolvers: list[Resolver] = []
        self._flows: list[tuple[CollectedFlow, BoundFlow, Sequence[BoundTask]]] = []

    # Getting ready

    def known_flags(self) -> list[Flag]:
        """Return the flags that plugins bring."""
        return [flag for _, flags in self.plugins.all("flowkit_run_options") for flag in flags]

    def configure(self, flags: Mapping[str, Any]) -> None:
        """Take in the flags and have the plugins get ready.

        Raises:
            FlowError: A flag, keyword or setting is unknown or does not fit.
        """
        errors: list[UsageError] = []
        known = self.known_flags()
        self.flags = {flag.keyword: flag.default for flag in known}
        names = [*CORE_FLAGS, *self.flags]
        for name, value in flags.items():
            if name not in names:
                errors.append(
                    OptionError(
                        f"flowkit.run(): unknown keyword {name!r}",
                        known=f"known: {listing(['params', 'override', *names])}",
                        remedy=did_you_mean(name, names, "Take it out, or load the plugin that brings it."),
                    )
                )
            self.flags[name] = value
        for flag in known:
            if flag.multiple:
                self.flags[flag.keyword] = _several(self.flags[flag.keyword], flag.optional)
        declared_settings = [o for _, options in self.plugins.all("flowkit_settings") for o in options]
        errors += self.settings.check(declared_settings)
        try:
            self.plugins.check()
        except OptionError as error:
            errors.append(error)
        _raise_all(errors)
        self._configured = True
        self.executor_name = self.flags.get("executor") or self.settings["executor"]
        self.slots = self._slots()
        _raise_all_of(lambda: self.plugins.all("flowkit_configure", session=self))

    def _slots(self) -> int:
        asked = self.flags.get("n")
        if asked is None:
            asked = self.settings["n"]
        if asked is not None and (not isinstance(asked, int) or isinstance(asked, bool) or asked < 1):
            raise FlowError([OptionError(f"n={asked!r}: not a number of at least 1", remedy="Write -n 4.")])
        return asked or max(4, os.cpu_count() or 1)

    def close(self) -> None:
        """Have the plugins let go; called once, whatever happened."""
        if self._configured:
            self._configured = False
            self.plugins.all("flowkit_unconfigure", session=self)
        if self._importer is not None:
            with _loading:
                self._importer.close()

    def forget(self) -> None:
        """Let go of what was collected: nobody will ask for it any more."""
        self.graph = self._importer = None
        self.parameters, self._resolvers, self._flows = {}, [], []

    # From targets to a graph

    def collect(self, override: Mapping[str, object] | None = None, overrides: Sequence[str] = ()) -> Graph:
        """Read the targets and resolve every argument.

        Args:
            override: Name → value or function (from Python).
            overrides: ``name=override`` texts of ``-O``.

        Raises:
            FlowError: All that is wrong, together.
            NothingToRun: There are no tasks.
        """
        with _loading:
            if self._importer is not None:
                self._importer.close()
            self._importer = imports.Importer(self.root, self._imported)
            collector = Collector(self.root, self._importer, self.plugins.add_flowconf)
            for target in self.targets:
                collector.add(target)
            errors: list[UsageError] = list(collector.errors)
            self.notes = collector.notes()
            standing_in = overriding.read(override, overrides, collector.load_function, errors)
            around = self._surroundings(standing_in)
            with no_garbage():
                for collected in collector.flows.values():
                    self._bind(collected, around, errors)
                if standing_in:
                    known = {n for r in self._resolvers for n in r.visible()}
                    errors += overriding.unused(standing_in, known, surely=not errors)
                self._standing_in = standing_in
                self.graph = graph = self._graph(errors)
        try:
            errors += self._tell_collected(graph) if graph is not None else []
        except PluginError:
            _raise_all(errors)  # it may not have been ready for what is wrong
            raise
        _raise_all(errors)
        assert graph is not None  # else there were errors
        self.collected = sum(1 for _, _, own in self._flows for t in own if t.given is None)
        return graph

    def _imported(self, modules: Sequence[ModuleType]) -> None:
        self.plugins.all("flowkit_imported", modules=modules)

    def _bind(self, collected: CollectedFlow, around: Surroundings, errors: list[UsageError]) -> None:
        resolver = Resolver(collected, around, first=sum(len(r.tasks) for r in self._resolvers))
        own = resolver.bind()
        errors += resolver.errors
        self._resolvers.append(resolver)
        self._flows.append((collected, resolver.flow, own))
        self.parameters[resolver.flow] = resolver.parameters

    def _surroundings(self, overrides: Mapping[str, Override]) -> Surroundings:
        inputs: dict[str, object] = {}
        for _, found in self.plugins.all("flowkit_inputs", session=self):
            inputs.update(found)
        return Surroundings(
            task_options=_by_name(self.plugins.all("flowkit_task_options")),
            flow_options=_by_name(self.plugins.all("flowkit_flow_options")),
            project_defaults=self.settings.section("defaults"),
            plugin_names=self.plugins.resources(),
            inputs=inputs,
            overrides=overrides,
            convert=overriding.converted,
        )

    def _graph(self, errors: list[UsageError]) -> Graph | None:
        tasks: list[BoundTask] = []
        circular = False
        for resolver in self._resolvers:  # a cycle in one flow hides nothing of another
            mine, cycles = sorted_upstream_first(resolver.tasks)
            if cycles:
                errors += cycles
                errors += [e for t in resolver.tasks for e in misfits(t)]
                circular = True
            else:
                errors += assign_axes(mine, resolver.unsure)
                tasks += mine
        return None if circular else Graph(tasks, [r.flow for r in self._resolvers], ordered=True)

    def _tell_collected(self, graph: Graph) -> list[UsageError]:
        """Tell plugins of what was collected; return what they find wrong with it."""
        tell = self.plugins.caller("flowkit_flow_collected")
        if tell is not None:
            for flow in graph.flows:
                tell(flow)
        tell = self.plugins.caller("flowkit_task_collected")
        if tell is not None:
            demands: dict[str, int] = {}  # what nobody wrote into is handed to the next task
            # One without options could not be read, which is told anyway.
            for task in sorted([t for t in graph.tasks if t.given is None and t.options is not NOTHING], key=attrgetter("order")):
                task.demands = demands
                tell(task)
                if task.demands:
                    demands = {}
                else:
                    task.demands = NOTHING
        return [e for _, found in self.plugins.all("flowkit_collected", graph=graph) for e in found]

    def prepare(
        self,
        sources: Callable[[], Sources],
        override: Mapping[str, object] | None = None,
        overrides: Sequence[str] = (),
    ) -> Sources:
        """Collect and read the sources of parameters; if the flow is wrong, say what its values lack, too.

        Raises:
            FlowError: All that is wrong, together.
        """
        try:
            self.collect(override, overrides)
        except FlowError as error:
            raise FlowError([*error.errors, *self._wrong_values(sources)]) from None
        read: Sources = _raise_all_of(sources)
        return read

    def _wrong_values(self, sources: Callable[[], Sources]) -> Sequence[UsageError]:
        """Return what is wrong with parameters' values, as far as a wrong flow lets that be seen."""
        if self.graph is None:
            return ()
        try:
            # A name that looks unknown may belong to what could not be read.
            self.settle(self.graph.restricted(self.select().targets), sources(), unknown=False)
        except UsageError as error:
            return [error]
        except (FlowError, NothingToRun) as error:
            return getattr(error, "errors", ())
        return ()

    # From a graph to a run

    def select(self) -> Selection:
        """Return what the run is for.

        Raises:
            FlowError: A selection leads nowhere.
            NothingToRun: It is empty.
        """
        assert self.graph is not None  # collected before
        flags = self.flags
        try:
            selection = choose(
                self.graph,
                self._flows,
                keyword=flags.get("k") or "",
                tags=flags.get("m") or "",
                deselect=listed(flags.get("deselect")),
            )
        except SelectionError as error:
            raise FlowError([error]) from None
        selection = self.plugins.passed_on("flowkit_select", "selection", selection, graph=self.graph)
        chosen: Selection = selection
        if not chosen.targets:
            raise NothingToRun("nothing to run: no task is selected")
        return chosen

    def settle(self, graph: Graph, sources: Sources, *, unknown: bool = True) -> dict[str, object]:
        """Give every parameter of the run its value, and every task and resource the values it takes.

        Args:
            graph: What is to be run.
            sources: Where values come from.
            unknown: Whether a value for a name that is no parameter is wrong.

        Raises:
            FlowError: Values that are missing, unknown or do not fit, all together.
        """
        errors: list[UsageError] = []
        known = {name for found in self.parameters.values() for name in found}
        for name, override in self._standing_in.items():
            if override.declaration is None and name in known:
                text = override.text is not None
                given, way = (override.text, "-O") if text else (override.value, "override")
                sources.near[name] = Given(given, override.origin, text=text, way=way)
        errors += sources.unknown(known) if unknown else []
        errors += self._remember(sources)
        taking: dict[BoundFlow, list[BoundTask]] = {}
        for task in graph.tasks:
            if task.parameters or task.resources:
                taking.setdefault(task.flow, []).append(task)
        values: dict[str, object] = {}
        for resolver in self._resolvers:
            found, wrong = settle_flow(taking.get(resolver.flow, ()), resolver, sources)
            values.update(found)
            errors += wrong
        _raise_all(errors)
        return values

    def _remember(self, sources: Sources) -> list[UsageError]:
        """Take in the values that plugins know of; return what contradicts them."""
        try:
            for _, remembered in self.plugins.all("flowkit_parameters", session=self, sources=sources):
                for name, value in remembered.items():
                    given = value if isinstance(value, Given) else Given(value, "a plugin", text=False)
                    sources.far.setdefault(name, given)
        except OptionError as error:
            return [error]
        return []

    def _info(self, graph: Graph, values: Mapping[str, object], params: Sources) -> RunInfo:
        overrides = {name: (override.value, override.read) for name, override in self._standing_in.items()}
        mask = masking({**overrides, **values})
        secret = [n for found in (overrides, values) for n, value in found.items() if holds_secret(value)] if self.command else ()
        return RunInfo(
            id=f"{random.SystemRandom().getrandbits(28):07x}",
            graph=graph,
            params=values,
            executor=self.executor_name,
            slots=self.slots,
            started=self.clock.wall().astimezone(),
            started_at=self.clock.now(),
            scheduled_at=self.scheduled_at,
            root=str(self.root),
            options=self.flags,
            command=command_without(secret, self.command, mask),
            mask=mask,
            given={name: given for name in values if (given := params.find(name)) is not None},
        )

    def plan(self, params: Sources) -> list[Decision]:
        """Return what a run would do to every node, and why; nothing is called.

        Raises:
            FlowError, NothingToRun: It is known already that a selected element does not exist.
        """
        from flowkit.planning import Planner

        assert self.graph is not None  # collected before
        selection = self.select()
        graph = self.graph.restricted(selection.targets)
        values = self.settle(graph, params)
        wants = only_some(needed(graph, selection))
        for task in graph.tasks:
            task.wants = wants.get(task)
        info = self._info(graph, values, params)
        self.plugins.all("flowkit_plan_started", run=info)
        planner = Planner(info, self.plugins, self.services.get(Before))
        self.services[Scheduler] = planner.machine
        decisions = planner.decide()
        check_exact(selection, planner.machine, well=True)
        return decisions

    def execute(
        self,
        *,
        params: Sources,
        keep: bool = True,
        prepare: Callable[[Runner], None] = lambda runner: None,
    ) -> Run:
        """Run what was collected, to the end.

        Args:
            params: Where values of parameters come from.
            keep: Whether results may be asked for afterwards.
            prepare: Told of the runner before it starts (signals are installed there).
        """
        assert self.graph is not None  # collected before
        selection = self.select()
        graph = self.graph.restricted(selection.targets)
        self.selected = self._selected(graph.targets)
        values = self.settle(graph, params)
        asked = needed(graph, selection)
        wants = only_some(asked)
        for task in graph.tasks:
            task.wants = wants.get(task)
        executor = self._executor()
        info = self._info(graph, values, params)
        limits: dict[str, int | tuple[int, float]] = {}
        for _, found in self.plugins.all("flowkit_capacity", graph=graph):
            limits.update(found)
        targets = graph.targets
        with no_garbage():
            runner = Runner(
                info,
                graph,
                self.plugins,
                executor,
                self.clock,
                limits=limits,
                maxfail=1 if self.flags.get("x") else self.flags.get("maxfail"),
                keep=(lambda task: task in targets) if keep else (lambda task: False),
                only=_only(axis_filters(asked)),
            )
        runner.report.notes.extend(self.notes)
        self.services[Scheduler] = runner.machine
        prepare(runner)
        with no_garbage():  # what is known of every node is read here
            self.plugins.all("flowkit_run_started", run=info)
        folders = {os.path.dirname(f.file) for f in graph.flows if f.file}
        with stoppable(runner):
            with imports.all_importable(folders):
                report = runner.execute()
            check_exact(selection, runner.machine, well=not selection.elements or not any(n.bad for n in report.nodes))
            self.plugins.all("flowkit_run_ended", report=report)
        return Run(runner, report, targets, self._as_it_was)

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """Have the flows' modules at hand, also after the session was closed."""
        assert self._importer is not None  # a run is of what was collected
        with _loading, self._importer.as_it_was():
            yield

    def _selected(self, targets: frozenset[BoundTask]) -> int:
        """Return how many of the collected tasks are targets; with all others, fallbacks are, too."""
        own = [task for _, _, tasks in self._flows for task in tasks if task.given is None]
        missing = [task for task in own if task not in targets]
        return len(own) if all(task.is_fallback for task in missing) else len(own) - len(missing)

    def _executor(self) -> Executor:
        name, slots = self.executor_name, self.slots
        ask = self.plugins.caller("flowkit_executor", first=True)
        executor: Executor | None = ask(name, slots) if ask is not None else None
        if executor is None:
            make = self.executors.get(name)
            if make is None:
                raise FlowError([OptionError.unknown("executor", name, "--executor", self.executors)])
            executor = make(slots)
        self.slots = executor.slots
        return executor


def _by_name(found: Sequence[tuple[str, Sequence[Option]]]) -> dict[str, Option]:
    return {option.name: option for _, options in found for option in options}


def _only(cut: Mapping[Axis, Callable[[str], bool]]) -> Callable[[Axis, Sequence[str]], Sequence[int] | None]:
    def only(axis: Axis, ids: Sequence[str]) -> Sequence[int] | None:
        wanted = cut.get(axis)
        return None if wanted is None else [i for i, name in enumerate(ids) if wanted(name)]

    return only


def _folders(targets: Sequence[Target]) -> list[Path]:
    _raise_all_of(settings_.here)
    folders = []
    for target in targets:
        module = target.module
        if isinstance(module, Path):
            path = Path(os.path.realpath(module))  # resolve() raises where a link leads to itself
            folders.append(path if path.is_dir() else path.parent)
        elif isinstance(module, ModuleType) and getattr(module, "__file__", None):
            folders.append(Path(str(module.__file__)).resolve().parent)
        else:
            folders.append(Path.cwd())
    return folders


def listed(value: object) -> list[str]:
    """Return the texts of a flag that takes several, of which one may stand alone."""
    if not value:
        return []
    return [value] if isinstance(value, str) else list(value)  # type: ignore[call-overload]  # a list or tuple


def _several(value: object, alone: str | None) -> tuple[str, ...]:
    """Return the values of a flag that may be given several times; ``True`` is the flag alone."""
    if value is True:
        return () if alone is None else (alone,)
    return tuple(listed(value))


def _raise_all(errors: Sequence[UsageError]) -> None:
    if errors:
        raise FlowError(iterate_errors(errors))


def _raise_all_of(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except UsageError as error:
        raise FlowError([error]) from None

