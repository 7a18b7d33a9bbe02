"""Whether what a schedule gives to a flow's parameters fits them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flowkit.annotations import text as shown
from flowkit.errors import ParameterError, did_you_mean, listing
from flowkit.parameters import Parameter, Problem, convert
from flowkit_plugins.schedule.timetable import timetable

if TYPE_CHECKING:
    from flowkit.graph import BoundFlow


def wrong_params(flow: BoundFlow, parameters: Mapping[str, Parameter]) -> Iterator[ParameterError]:
    """Return an error for each value that the flow has no parameter for, or that does not fit."""
    table = timetable(flow)
    for schedule in table.schedules if table is not None else ():
        for name, value in schedule.params.items():
            where = f"Flow ({flow.where}): schedule {schedule.text!r}"
            found = parameters.get(name)
            if found is None:
                remedy = did_you_mean(name, parameters, "Remove it.")
                yield ParameterError(
                    f"{where} gives {name!r}, which is no parameter",
                    known=f"parameters: {listing(parameters)}",
                    remedy=remedy,
                )
                continue
            try:
                convert(value, found.annotation, text=False)
            except Problem as problem:
                yield ParameterError(
                    f"{where} gives parameter {name!r} of {found.asked_by} ({found.where}) a value that does not fit",
                    known=f"wanted {shown(found.annotation)}; {problem}",
                    remedy="Mend params= of that schedule.",
                )


def converted(params: Mapping[str, object], parameters: Mapping[str, Parameter]) -> dict[str, object]:
    """Return values as the flow's tasks will get them; they were found to fit."""
    return {name: convert(value, parameters[name].annotation, text=False) for name, value in params.items()}
