"""How to test a flow: its tasks are ordinary functions, and runs of it are simulated.

``pytest examples/blizzard_week``; the folder of this file is importable, as pytest has it.
"""

import flow
import pandas as pd
import pytest
from delays import DayFigures
from hypothesis import settings

from flowkit import Skipped
from flowkit.testing import flow as flow_under_test
from flowkit.testing import properties


def a_day(*, cancelled):
    """A day with so large a part of its flights cancelled."""
    return DayFigures("2013-02-08", 100, round(100 * cancelled), cancelled, 7.5, 0)


def test_a_task_is_an_ordinary_function():
    raw = flow.raw_day(flow.day_files()[4])
    assert flow.day_figures(flow.clean_day(flow.valid_day(raw))).cancelled == 472


def test_a_quiet_day_passes_the_gate():
    assert flow.fit_for_training(a_day(cancelled=0.02)) == "2013-02-08"


def test_a_day_at_the_threshold_passes_the_gate():
    assert flow.fit_for_training(a_day(cancelled=0.20)) == "2013-02-08"


def test_a_disrupted_day_is_skipped_with_the_rate_as_the_reason():
    with pytest.raises(BaseException, match="51% cancelled"):
        flow.fit_for_training(a_day(cancelled=0.51))


def test_the_note_says_why_a_day_was_turned_away():
    line = flow.disruption(Skipped("51% cancelled"), a_day(cancelled=0.51))
    assert line == "- 2013-02-08: 51% cancelled (51 of 100)"


def test_a_list_stands_in_for_what_is_collected_and_a_function_for_a_resource(tmp_path):
    note = flow.disruption_note(["- one", "- two"], out=lambda name: tmp_path / name)
    assert note.read_text() == "- one\n- two"
    assert flow.disruption_note([], out=lambda name: tmp_path / name).read_text() == "None."


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda day: day.drop(columns="origin"), "no column origin"),
        (lambda day: pd.concat([day, day.head(2)]), "2 rows repeat a flight"),
        (lambda day: day.assign(origin="LHR"), "unknown origin LHR"),
        (lambda day: day.head(0), "no rows"),
    ],
)
def test_a_day_that_is_not_in_order_is_refused(change, complaint):
    raw = flow.raw_day(flow.day_files()[0])
    with pytest.raises(BaseException, match=complaint):
        flow.valid_day(change(raw))


def test_a_run_takes_parameters_and_gives_values(flowrun):
    r = flowrun("flow.py", "disruption", params={"threshold": 0.55})
    assert list(r["disruption"]) == ["- 2013-02-09: 57% cancelled (393 of 684)"]
    assert r.rerun(params={"threshold": 0.55}).loads == 0


def test_a_day_that_cannot_be_read_leaves_no_table_of_six_days(flowrun, faults):
    r = flowrun("flow.py", "by_day", faults=faults.fail("raw_day[flights_2013-02-08.csv]", exc=OSError))
    assert r.states["by_day"] == "upstream"
    again = r.rerun()
    assert len(again["by_day"]) == 7
    assert [name for name in again.calls if name.startswith("raw_day")] == ["raw_day[flights_2013-02-08.csv]"]


test_no_table_is_changed_in_place = settings(max_examples=3)(
    properties.no_input_mutation(flow_under_test("flow.py::by_origin"))
)
