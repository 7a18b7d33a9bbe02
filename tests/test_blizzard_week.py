"""The blizzard week, the project's main example: its figures, and what a second run does not do.

``data/EXPECTED.json`` was computed with pandas from the same files, not with flowkit.
"""

import json
import os
import shutil
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

pytest.importorskip("pandas")
pytest.importorskip("sklearn")
pytest.importorskip("matplotlib")

import flowkit
from flowkit.errors import SkipRequested

ROOT = Path(__file__).parent.parent
EXPECTED = json.loads((ROOT / "tests/data/EXPECTED.json").read_text())["nycflights_blizzard"]
DATES = [day["date"] for day in EXPECTED["by_day"]]
CHAIN = ("raw_day", "valid_day", "clean_day", "day_figures", "joined_day", "fit_for_training")
REUSED = {"cached", "skipped"}


def forget_helpers():
    """Drop the example's helper modules: pytest imports them for its ``test_flow.py``, too."""
    for name in ("cleaning", "delays", "learning", "pages"):
        sys.modules.pop(name, None)


class Project:
    """A copy of the example in a folder of its own, which a test may edit and run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.flow = folder / "blizzard_week" / "flow.py"
        skipped = shutil.ignore_patterns("__pycache__", "test_*")
        shutil.copytree(ROOT / "examples/blizzard_week", self.flow.parent, ignore=skipped)
        (folder / "flowkit.toml").touch()  # this is the root: out/ and .flowkit/ are below it

    def run(self, target="", **options):
        forget_helpers()
        return flowkit.run(f"{self.flow}{target}", **options)

    def edit(self, file, old, new):
        """Replace one piece of text in a file of the example, with a later time of change."""
        path = self.flow.parent / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))
        later = path.stat().st_mtime + 10
        os.utime(path, (later, later))


def node(task, date):
    return f"{task}[flights_{date}.csv]"


def executed(run):
    """The nodes that were called in a run."""
    return {n.node for n in run.report.nodes if n.attempts}


def chain(date, *tasks):
    return {node(task, date) for task in tasks}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The example after one run: (project, run). Not to be changed."""
    project = Project(tmp_path_factory.mktemp("week"))
    return project, project.run()


@pytest.fixture
def week(finished):
    return finished[1]


@pytest.fixture
def project(finished, tmp_path):
    """A fresh copy of the example after its first run, with a cache of its own."""
    project = Project(tmp_path)
    assert project.run().ok
    return project


@pytest.fixture
def flow(monkeypatch):
    """The example imported as any module; forgotten afterwards."""
    folder = ROOT / "examples/blizzard_week"
    monkeypatch.syspath_prepend(str(folder))
    forget_helpers()
    spec = spec_from_file_location("blizzard_flow", folder / "flow.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_run_is_fine(week):
    assert week.ok
    assert set(week.report.counts) == {"ran", "skipped"}


def test_every_day_has_its_rows(week):
    assert len(week["day_files"]) == EXPECTED["files"]
    rows = [len(day) for day in week["clean_day"]]
    assert rows == [day["flights"] for day in EXPECTED["by_day"]]
    assert sum(rows) == EXPECTED["rows"]


def test_the_days_have_their_cancellations_and_delays(week):
    assert week["by_day"].to_dict("records") == EXPECTED["by_day"]
    assert sum(week["by_day"]["cancelled"]) == EXPECTED["cancelled"]


def test_one_element_is_reached_by_its_id(week):
    assert week[node("day_figures", "2013-02-08")].cancel_rate == 0.5075
    assert week["day_figures"].ids == tuple(f"flights_{date}.csv" for date in DATES)


def test_every_flight_finds_its_weather(week):
    flights = week["flights"]
    assert len(week["weather"]) == EXPECTED["weather_rows"]
    assert len(flights) == EXPECTED["joined_rows"]
    assert flights["temp"].isna().sum() == EXPECTED["joined_without_weather"]


def test_the_week_has_its_delays(week):
    delays = week["flights"]["arr_delay"]
    assert delays.notna().sum() == EXPECTED["rows_with_arr_delay"]
    assert round(delays.mean(), 4) == EXPECTED["mean_arr_delay"]


def test_rows_without_a_tail_number_are_kept(week):
    assert week["flights"]["tailnum"].isna().sum() == EXPECTED["missing_tailnum"]


def test_no_flight_is_there_twice(week):
    keys = ["date", "carrier", "flight", "origin"]
    assert week["flights"].duplicated(keys).sum() == EXPECTED["duplicate_keys"]


def test_the_carriers_have_their_figures(week):
    assert week["by_carrier"].to_dict("records") == EXPECTED["by_carrier"]


def test_the_airports_have_their_figures(week):
    assert week["by_origin"].to_dict("records") == EXPECTED["by_origin"]


def test_the_top_destinations_are_in_order(week):
    top = list(week["top_destinations"].items())
    assert top[:5] == list(EXPECTED["top5_dest"].items())
    assert [place for place, _ in top[5:]] == ["MCO", "CLT", "MIA", "DCA", "SFO"]
    assert [flights for _, flights in top[5:]] == [255, 241, 222, 210, 197]


def test_the_gate_turns_away_the_days_of_the_storm(week):
    skipped = [
        n.node
        for n in week.report.nodes
        if n.task.name == "fit_for_training" and n.word == "skipped"
    ]
    assert sorted(skipped) == [
        node("fit_for_training", date) for date in EXPECTED["days_over_20pct_cancelled"]
    ]


def test_a_day_that_was_turned_away_is_absent_from_training(week):
    assert len(week["training_rows"]) == 5
    assert week["model_quality"]["rows"] == sum(len(day) for day in week["training_rows"])


def test_the_note_names_the_days_that_were_turned_away(week):
    assert week["disruption_note"].read_text().splitlines() == [
        "- 2013-02-08: 51% cancelled (472 of 930)",
        "- 2013-02-09: 57% cancelled (393 of 684)",
    ]


def test_the_model_is_better_than_a_coin(week):
    assert 0.55 < week["model_quality"]["auc"] < 0.95
    assert hasattr(week["delay_model"], "predict_proba")


def test_the_report_is_below_out(finished):
    project, week = finished
    folder = project.folder / "out" / "report"
    assert [Path(file) for file in week["report"]] == [
        folder / "report.html",
        folder / "report.md",
        folder / "delays.png",
    ]
    assert (folder / "delays.png").read_bytes() == week["delay_plot"]


def test_the_note_is_below_out(finished):
    project, week = finished
    assert week["disruption_note"] == project.folder / "out/disruption_note/disruption.md"


def test_the_html_report_needs_no_other_file(finished):
    page = (finished[0].folder / "out/report/report.html").read_text()
    assert page.count("src=") == 1
    assert 'src="data:image/png;base64,iVBOR' in page
    assert "href=" not in page


@pytest.mark.parametrize("name", ["report.html", "report.md"])
def test_both_reports_say_the_main_figures(finished, name):
    text = (finished[0].folder / "out/report" / name).read_text()
    for fact in ("7 days, 6,104 flights, 929 of them cancelled", "24.229", "87.545", "ATL", "51%"):
        assert fact in text


def test_a_second_run_executes_nothing(project):
    again = project.run()
    assert again.ok
    assert executed(again) == set()
    assert set(again.report.counts) == REUSED


def test_two_cold_runs_write_the_same_bytes(finished, project):
    for name in ("report.html", "report.md", "delays.png"):
        place = f"out/report/{name}"
        assert (finished[0].folder / place).read_bytes() == (project.folder / place).read_bytes()


def test_editing_the_report_task_runs_one_task(project):
    project.edit("flow.py", 'encoding="utf-8")\n    picture', 'encoding="utf8")\n    picture')
    assert executed(project.run()) == {"report"}


def test_editing_how_the_page_is_written_runs_one_task(project):
    project.edit("pages.py", "<h2>Disrupted days</h2>", "<h2>The storm</h2>")
    assert executed(project.run()) == {"report"}
    assert "The storm" in (project.folder / "out/report/report.html").read_text()


def test_another_file_for_a_day_runs_that_day_and_what_follows(project):
    file = project.flow.parent / "data" / "flights_2013-02-05.csv"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:1] + lines[2:]))  # one flight less
    run = project.run()
    assert run.ok
    assert executed(run) == {
        *chain("2013-02-05", *CHAIN, "training_rows"),
        "day_files", "flights", "by_day", "by_carrier", "by_origin", "top_destinations",
        "training", "delay_plot", "report",
    }  # fmt: skip


def test_another_threshold_runs_the_gate_and_no_more_if_no_day_changes_sides(project):
    run = project.run(params={"threshold": 0.30})
    assert executed(run) == {node("fit_for_training", date) for date in DATES}


def test_another_threshold_runs_the_branch_only(project):
    run = project.run(params={"threshold": 0.55})
    gates = {node("fit_for_training", date) for date in DATES}
    assert executed(run) == {
        *gates, node("training_rows", "2013-02-08"), "training", "disruption_note", "report",
    }  # fmt: skip
    assert run["disruption_note"].read_text() == "- 2013-02-09: 57% cancelled (393 of 684)"
    assert len(run["training_rows"]) == 6


def test_a_broken_day_leaves_the_other_days_alone(project):
    project.edit(
        "data/flights_2013-02-06.csv",
        "2013,2,6,6,2249,77,102,2356,66,B6,22,N187JB,JFK",
        "2013,2,6,6,2249,77,102,2356,66,B6,22,N187JB,LHR",
    )
    run = project.run()
    assert not run.ok
    words = {n.node: n.word for n in run.report.nodes}
    assert words[node("valid_day", "2013-02-06")] == "failed"
    assert words[node("joined_day", "2013-02-06")] == "upstream"
    assert words[node("joined_day", "2013-02-07")] == "cached"
    assert words["report"] == "upstream"
    # A day that was never judged is no disrupted day.
    assert words[node("disruption", "2013-02-06")] == "upstream"


def test_a_task_stays_an_ordinary_function(flow):
    days = [flow.clean_day(flow.valid_day(flow.raw_day(file))) for file in flow.day_files()]
    figures = [flow.day_figures(day) for day in days]
    assert flow.by_day(figures).to_dict("records") == EXPECTED["by_day"]
    joined = [flow.joined_day(day, flow.weather()) for day in days]
    flights = flow.flights(joined)
    assert flow.by_carrier(flights).to_dict("records") == EXPECTED["by_carrier"]
    assert flow.by_origin(flights).to_dict("records") == EXPECTED["by_origin"]


def test_the_gate_called_as_a_function_raises_what_skip_raises(flow):
    storm = flow.day_files()[4]
    figures = flow.day_figures(flow.clean_day(flow.raw_day(storm)))
    with pytest.raises(SkipRequested, match="51% cancelled"):
        flow.fit_for_training(figures)
    assert flow.fit_for_training(figures, threshold=0.6) == "2013-02-08"


def test_the_picture_is_the_same_each_time(flow):
    storm = flow.day_figures(flow.clean_day(flow.raw_day(flow.day_files()[4])))
    table = flow.by_day([storm])
    assert flow.delay_plot(table) == flow.delay_plot(table)
