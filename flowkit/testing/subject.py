"""A flow under test: what is fixed of it, and strategies for all the rest."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowkit.errors import FlowError, OptionError
from flowkit.parameters import Problem, default_of
from flowkit.secrets import holds_secret, wants_secret
from flowkit.testing.faultplans import CALL_KINDS, Plan
from flowkit.testing.sandbox import Case, Sandbox, Setting

if TYPE_CHECKING:
    import pytest
    from hypothesis import strategies as st

    from flowkit.graph import BoundTask, Graph
    from flowkit.parameters import Parameter
    from flowkit.session import Session
    from flowkit.testing.edits import Edit
    from flowkit.testing.elsewhere import Elsewhere
    from flowkit.testing.results import RunResult


class FlowUnderTest:
    """A flow, what stands in for parts of it, and the parameters that are fixed.

    Args:
        target: What ``flowkit.run`` takes, or the text of a module.
        params: Values that are not drawn.
        override: Values or functions that stand in for tasks, resources and parameters.
        typed: Overrides as ``-O`` takes them.
        prefix: What the names of its fixtures begin with, where it is a test module's ``pytestmark``.
        flags: As for ``flowkit.run``.

    Attributes:
        ended: The nodes that ended well in any run of it.
        elsewhere: Runs it in other processes, where that may be.
    """

    def __init__(
        self,
        target: object,
        params: Mapping[str, object] | None = None,
        override: Mapping[str, object] | None = None,
        *,
        typed: Sequence[str] = (),
        prefix: str = "",
        **flags: Any,
    ) -> None:
        self._target = target
        self.prefix = prefix
        self.fixed = dict(params or {})
        self.override = dict(override or {})
        self.typed = tuple(typed)
        self.flags = flags
        self.ended: set[str] = set()
        self.elsewhere: Elsewhere | None = None

    def __repr__(self) -> str:
        return f"flow({self._target!r})" if "\n" not in str(self._target) else "flow(…)"

    @property
    def name(self) -> str:
        """Its file's name, or the module's."""
        text = str(getattr(self._target, "__name__", self._target))
        return text.replace(os.sep, "/").rpartition("/")[2] if "\n" not in text else "a flow"

    @property
    def mark(self) -> pytest.Mark:
        """What pytest takes it for as a ``pytestmark``: the tasks are fixtures of that module's tests."""
        import pytest

        return pytest.mark.flow(self).mark

    def beside(self, folder: Path) -> None:
        """Look for a file in a folder, too."""
        text, colons, task = str(self._target).partition("::")
        if isinstance(self._target, (str, Path)) and text.endswith(".py") and not os.path.exists(text):
            found = folder / text
            self._target = f"{found}{colons}{task}" if found.exists() else self._target

    @cached_property
    def sandbox(self) -> Sandbox:
        """One that is kept for looking at the flow."""
        return Sandbox(self._target)

    @property
    def target(self) -> object:
        """What is run."""
        return self.sandbox.target

    @cached_property
    def _session(self) -> Session:
        session = self.sandbox.look(self.override, self.typed)
        refused = [t for t in _graph(session).tasks if t.options.get("effect") and t.given is None]
        if refused:
            names = ", ".join(repr(t.name) for t in refused)
            raise FlowError(
                [
                    OptionError(
                        f"{names}: marked effect=True, and would change the outside again and again",
                        known="\n".join(f"{t.name}  {t.where}" for t in refused),
                        remedy=f"Let something stand in: flow(…, override={{{refused[0].name!r}: …}}), or -O {refused[0].name}=….",
                    )
                ]
            )
        return session

    @property
    def graph(self) -> Graph:
        """Its tasks.

        Raises:
            FlowError: It is wrong, or a task with ``effect=True`` has no stand-in.
        """
        return _graph(self._session)

    def load(self) -> None:
        """Import the flow and bind its arguments; what is wrong with it, or has effects, is refused."""
        _graph(self._session)

    @property
    def tasks(self) -> list[BoundTask]:
        """Its tasks that are called, in definition order."""
        return sorted((t for t in self.graph.tasks if t.given is None), key=lambda t: t.order)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Its parameters."""
        return {name: p for found in self._session.parameters.values() for name, p in found.items() if name not in self.standing_in}

    @property
    def standing_in(self) -> set[str]:
        """The names of what is replaced."""
        return {*self.override, *(text.partition("=")[0] for text in self.typed)}

    @property
    def secrets(self) -> set[str]:
        """The names of its parameters, replaced ones included, that are secrets or hold some."""
        found = [p for of_flow in self._session.parameters.values() for p in of_flow.values()]
        return {p.name for p in found if wants_secret(p.annotation) or holds_secret(p.default)}

    @property
    def given(self) -> dict[str, object]:
        """The values of parameters that are fixed; those of secrets as such."""
        return {name: _hidden(value, self.parameters.get(name)) for name, value in self.fixed.items()}

    # Running

    def setting(self, case: Case = Case(), **changes: Any) -> Setting:  # noqa: B008 - frozen
        """Return what to ask a sandbox for."""
        setting = Setting(case, self.override, self.typed, self.flags, ended=self.ended)
        return setting.changed({"faults": case.faults, "schedule": case.schedule, **changes}) if changes else setting

    def run(self, case: Case = Case(), **changes: Any) -> RunResult:  # noqa: B008 - frozen
        """Run it in a fresh sandbox."""
        self.load()
        return Sandbox(self.target).run(self.setting(case, **changes))

    # Strategies

    def params(self) -> st.SearchStrategy[dict[str, object]]:
        """Values of its parameters, from their types and constraints."""
        from flowkit.testing import strategies

        return strategies.parameters(self.parameters, self.given)

    def inputs(self, task: str) -> st.SearchStrategy[dict[str, object]]:
        """Arguments of one task, from annotations of what it depends on (or of its own arguments)."""
        from hypothesis import strategies as st

        from flowkit.testing import strategies

        found = next(t for t in self.tasks if t.name == task)
        drawn: dict[str, Any] = {
            argument: strategies.parameter(self.parameters[name]) for argument, name in found.parameters.items()
        }
        for edge in found.edges:
            if edge.argument is not None and not edge.collected:
                drawn[edge.argument] = _result_of(edge.source, edge.accepts.type)
            elif edge.argument is not None:
                drawn[edge.argument] = st.lists(_result_of(edge.source, edge.accepts.type), max_size=4)
        for element in found.elements:
            for argument in element.arguments:
                hints = _hints(found)
                drawn[argument] = strategies.of_type(hints.get(argument, Any))
        return st.fixed_dictionaries(drawn)

    def overrides(self) -> st.SearchStrategy[dict[str, object]]:
        """Values that stand in for tasks without upstreams, from their return annotations or ``strategy=``."""
        from hypothesis import strategies as st

        roots = [t for t in self.tasks if not list(t.upstream()) and (t.options.get("strategy") or "return" in _hints(t))]
        return st.fixed_dictionaries({}, optional={t.name: _result_of(t, Any) for t in roots}).map(
            lambda values: {**self.override, **values}
        )

    def faults(
        self, kinds: Sequence[str] = (*CALL_KINDS, "crash", "store", "clock", "interrupt"), *, max: int = 2, min: int = 0  # noqa: A002 - the words users know
    ) -> st.SearchStrategy[Plan]:
        """Fault plans."""
        from flowkit.testing import strategies

        return strategies.plans(self.tasks, kinds, most=max, least=min)

    def schedules(self) -> st.SearchStrategy[tuple[int, ...]]:
        """Scheduling choices."""
        from flowkit.testing import strategies

        return strategies.schedules()

    @cached_property
    def all_edits(self) -> list[Edit]:
        """The edits that there are of its sources, always in the same order."""
        from flowkit.testing import edits

        return edits.all_of(self.sandbox.file)

    def edits(self) -> st.SearchStrategy[Edit]:
        """Edits of its sources, neutral and semantic."""
        from hypothesis import strategies as st

        return st.sampled_from(self.all_edits).filter(lambda edit: edit.parses)

    def cases(self, kinds: Sequence[str] = (), *, max_faults: int = 2, min_faults: int = 0) -> st.SearchStrategy[Case]:
        """Whole cases: parameters, faults of these kinds, a schedule, a number of workers."""
        from hypothesis import strategies as st

        return st.builds(
            Case,
            params=self.params(),
            faults=self.faults(kinds, max=max_faults, min=min_faults),
            schedule=self.schedules(),
            workers=st.sampled_from((4, 1, 2)),
        )


def flow(
    target: object,
    params: Mapping[str, object] | None = None,
    override: Mapping[str, object] | None = None,
    **flags: Any,
) -> FlowUnderTest:
    """Return a flow to be tested; see :class:`FlowUnderTest`."""
    return FlowUnderTest(target, params, override, **flags)


def _hidden(value: object, parameter: Parameter | None) -> object:
    try:
        return default_of(value, parameter.annotation) if parameter is not None else value
    except Problem:  # the run says so
        return value


def _graph(session: Session) -> Graph:
    assert session.graph is not None  # it was collected
    return session.graph


def _hints(task: BoundTask) -> dict[str, Any]:
    import typing

    assert task.declaration is not None  # given values have no arguments
    try:
        return typing.get_type_hints(task.declaration.function, include_extras=True)
    except Exception:  # a name that exists for type checkers alone
        return {}


def _result_of(task: BoundTask, wanted: object) -> Any:
    from flowkit.testing import strategies

    own = task.options.get("strategy")
    if own is not None:
        return own
    hint = _hints(task).get("return", wanted) if task.given is None else wanted
    return strategies.of_type(hint)
