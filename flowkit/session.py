"""Settings → plugins → collect → resolve → run → report."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from operator import attrgetter
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
    TargetError,
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
from flowkit.options import iterate_errors, listed, several
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
        wrong: What is wrong so far, to be told with the rest.
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
        self.wrong: list[UsageError] = []
        for target in targets:
            try:
                self.targets.append(parse(target))
            except UsageError as error:
                self.wrong.append(error)
        try:
            self.settings = settings_.find(settings_.folders_of(target.module for target in self.targets))
            configured = self.settings.plugins
            requests = [*configured, *plugin_requests]
            places = {**{name: "flowkit.run(p=…)" for name in plugin_requests if not command}, **configured}
            if plugins is not None and not plugins.used and plugins.requests == requests:
                self.plugins = plugins
            else:
                self.plugins = Plugins()
                self.plugins.load(requests, places)
        except UsageError as error:
            raise FlowError([*self.wrong, error]) from None
        self.root = self.settings.root
        self.plugins.used = True
        self._configured = False
        self._importer: imports.Importer | None = None
        self.graph: Graph | None = None
        self._standing_in: Mapping[str, Override] = {}
        self.parameters: dict[BoundFlow, dict[str, Parameter]] = {}
        self._resolvers: list[Resolver] = []
        self._flows: list[tuple[CollectedFlow, BoundFlow, Sequence[BoundTask]]] = []

    # Getting ready

    def known_flags(self) -> list[Flag]:
        """Return the flags that plugins bring."""
        return [flag for _, flags in self.plugins.all("flowkit_run_options") for flag in flags]

    def configure(self, flags: Mapping[str, Any], *, later: bool = False) -> None:
        """Take in the flags and have the plugins get ready.

        Args:
            flags: Keyword → value.
            later: Whether what is wrong is told with what ``collect`` finds.

        Raises:
            FlowError: A flag, keyword or setting is unknown or does not fit.
        """
        errors = self.wrong
        known = self.known_flags()
        self.flags = {flag.keyword: flag.default for flag in known}
        names = [*CORE_FLAGS, *self.flags]
        long_names = {f.short[2:].replace("-", "_"): f.keyword for f in known if f.short.startswith("--")}
        for name, value in flags.items():
            if name not in names and name not in long_names:
                errors.append(
                    OptionError(
                        f"flowkit.run(): unknown keyword {name!r}",
                        known=f"known: {listing(['params', 'override', *names])}",
                        remedy=did_you_mean(name, names, "Take it out, or load the plugin that brings it."),
                    )
                )
            self.flags[long_names.get(name, name)] = value
        for flag in known:
            if flag.multiple:
                self.flags[flag.keyword] = several(self.flags[flag.keyword], flag.optional)
        declared_settings = [o for _, options in self.plugins.all("flowkit_settings") for o in options]
        errors += self.settings.check(declared_settings)
        errors += self.plugins.check()
        self._configured = True
        self.executor_name = self.flags.get("executor") or self.settings["executor"]
        self.slots = self._slots()
        try:
            self.plugins.all("flowkit_configure", session=self)
        except FlowError as error:
            errors += error.errors
        except PluginError:
            _raise_all(errors)  # it may not have been ready for what is wrong
            raise
        if not later:
            _raise_all(errors)

    def _slots(self) -> int:
        asked = self.flags.get("n")
        if asked is None:
            asked = self.settings["n"]
        if asked is not None and (not isinstance(asked, int) or isinstance(asked, bool) or asked < 1):
            self.wrong.append(OptionError(f"n={asked!r}: not a number of at least 1", remedy="Write -n 4."))
            asked = None
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
            errors: list[UsageError] = [*self.wrong, *collector.errors]
            self.notes = collector.notes() if not errors else []
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
            _raise_all(errors)
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
        self, sources: Sources, override: Mapping[str, object] | None = None, overrides: Sequence[str] = ()
    ) -> Sources:
        """Collect, and return the sources of parameters; if the flow is wrong, say what else is, too.

        Raises:
            FlowError: All that is wrong, together.
        """
        errors: list[UsageError] = []
        try:
            self.collect(override, overrides)
        except FlowError as error:
            errors += error.errors
        if str(self.executor_name) not in self.executors and not self.plugins.has("flowkit_executor"):
            errors.append(self._no_executor())
        if errors:
            _raise_all([*errors, *self._wrong_values(sources, errors)])
        return sources

    def _wrong_values(self, sources: Sources, wrong: Sequence[UsageError] = ()) -> list[UsageError]:
        """Return what is surely wrong with the selection and the values, though something else is.

        Args:
            sources: Where values come from.
            wrong: What is wrong with the flow.
        """
        errors: list[UsageError] = []
        graph = None  # what is to run is not known
        try:
            if self.graph is not None:
                graph = self.graph.restricted(self.select().targets)
        except FlowError as error:
            errors += error.errors
        except (NothingToRun, PluginError):
            pass  # there is something else to be mended first
        # A name that looks unknown may belong to what could not be read.
        missing = any(isinstance(error, TargetError) for error in wrong)
        asked = {name for resolver in self._resolvers for name in resolver.may_ask()} if wrong else set()
        try:
            self.settle(graph, sources, unknown=not missing, also=asked)
        except FlowError as error:
            errors += error.errors
        return errors

    # From a graph to a run

    def select(self) -> Selection:
        """Return what the run is for.

        Raises:
            FlowError: A selection leads nowhere.
            NothingToRun: It is empty.
        """
        assert self.graph is not None  # collected before
        flags = self.flags
        selection = choose(
            self.graph,
            self._flows,
            keyword=flags.get("k") or "",
            tags=flags.get("m") or "",
            deselect=listed(flags.get("deselect")),
        )
        selection = self.plugins.passed_on("flowkit_select", "selection", selection, graph=self.graph)
        chosen: Selection = selection
        if not chosen.targets:
            raise NothingToRun("nothing to run: no task is selected")
        return chosen

    def _to_run(self, params: Sources) -> tuple[Selection, Graph, dict[str, object]]:
        """Return what was selected, the graph of it and what that needs, and the values of its parameters.

        Raises:
            FlowError: All that is wrong with the selection and the values.
            NothingToRun: The selection is empty.
        """
        assert self.graph is not None  # collected before
        try:
            selection = self.select()
        except (FlowError, NothingToRun):
            _raise_all(self._wrong_values(params))
            raise
        graph = self.graph.restricted(selection.targets)
        return selection, graph, self.settle(graph, params)

    def settle(
        self, graph: Graph | None, sources: Sources, *, unknown: bool = True, also: Collection[str] = ()
    ) -> dict[str, object]:
        """Give every parameter of the run its value, and every task and resource the values it takes.

        Args:
            graph: What is to be run; None if that is not known, and only given values are looked at.
            sources: Where values come from.
            unknown: Whether a value for a name that is no parameter is wrong.
            also: What may be parameters besides those that are known.

        Raises:
            FlowError: Values that are missing, unknown or do not fit, all together.
        """
        errors: list[UsageError] = [*sources.errors]
        known = {name for found in self.parameters.values() for name in found}
        for name, override in self._standing_in.items():
            if override.declaration is None and name in known:
                text = override.text is not None
                given, way = (override.text, "-O") if text else (override.value, "override")
                sources.near[name] = Given(given, override.origin, text=text, way=way)
        if unknown:
            errors += [error for name, error in sources.unknown(known) if name not in also]
        errors += self._remember(sources)
        taking: dict[BoundFlow, list[BoundTask]] = {}
        for task in graph.tasks if graph is not None else ():
            if task.parameters or task.resources:
                taking.setdefault(task.flow, []).append(task)
        values: dict[str, object] = {}
        for resolver in self._resolvers:
            found, wrong = settle_flow(None if graph is None else taking.get(resolver.flow, ()), resolver, sources)
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
        except FlowError as error:
            return [*error.errors]
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

        selection, graph, values = self._to_run(params)
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
        selection, graph, values = self._to_run(params)
        self.selected = self._selected(graph.targets)
        asked = needed(graph, selection)
        wants = only_some(asked)
        for task in graph.tasks:
            task.wants = wants.get(task)
        executor = self._executor()
        info = self._info(graph, values, params)
        limits: dict[str, int | tuple[int, float]] = {}
        for _, found in self.plugins.all("flowkit_capacity", graph=graph):
            limits.update(found)
        kept = graph.asked_for() if keep else frozenset()
        with no_garbage():
            runner = Runner(
                info,
                graph,
                self.plugins,
                executor,
                self.clock,
                limits=limits,
                maxfail=1 if self.flags.get("x") else self.flags.get("maxfail"),
                keep=kept.__contains__,
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
        return Run(runner, report, graph.targets, self._as_it_was)

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
            make = self.executors.get(str(name))
            if make is None:
                raise FlowError([self._no_executor()])
            executor = make(slots)
        self.slots = executor.slots
        return executor

    def _no_executor(self) -> OptionError:
        where = self.settings.where("executor")
        if self.flags.get("executor"):
            where = "--executor" if self.command else f"flowkit.run(executor={self.executor_name!r})"
        return OptionError.unknown("executor", str(self.executor_name), where, self.executors)


def _by_name(found: Sequence[tuple[str, Sequence[Option]]]) -> dict[str, Option]:
    return {option.name: option for _, options in found for option in options}


def _only(cut: Mapping[Axis, Callable[[str], bool]]) -> Callable[[Axis, Sequence[str]], Sequence[int] | None]:
    def only(axis: Axis, ids: Sequence[str]) -> Sequence[int] | None:
        wanted = cut.get(axis)
        return None if wanted is None else [i for i, name in enumerate(ids) if wanted(name)]

    return only


def _raise_all(errors: Sequence[UsageError]) -> None:
    if errors:
        raise FlowError(iterate_errors(errors))
