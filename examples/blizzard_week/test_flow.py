"""How to test a flow: its tasks are ordinary functions, and a run is a call.

``pytest examples/blizzard_week``; the folder of this file is importable, as pytest has it.
"""

import flow
import pandas as pd
import pytest
from delays import DayFigures

import flowkit
from flowkit import Skipped


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


def test_a_run_takes_parameters_and_gives_values(monkeypatch, tmp_path):
    monkeypatch.setenv("FLOWKIT_CACHE_DIR", str(tmp_path / "cache"))
    run = flowkit.run(f"{flow.__file__}::disruption", params={"threshold": 0.55})
    assert run.ok
    assert list(run["disruption"]) == ["- 2013-02-09: 57% cancelled (393 of 684)"]
