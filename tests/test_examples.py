"""Every example runs from the command line, ends as documented, and gives what it should."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import flowkit

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
HAMILTON = json.loads((ROOT / "tests/data/EXPECTED.json").read_text())["hamilton_hello"]

FLOWS = sorted(
    path.relative_to(EXAMPLES).as_posix()
    for path in EXAMPLES.rglob("*.py")
    if not path.name.startswith(("test_", "_"))
    and path.name != "flowconf.py"
    and "@task" in path.read_text()
    and path.name != "owners.py"
)

#: What ends otherwise than with 0, and why.
EXIT_CODES = {"failure/flow.py": 1}  # its disk is full

#: What does not hold of it, and why.
BROKEN = {"resources/flow.py": {"resume_equals_clean"}}  # what was written into the database of a run is gone with it

SOAK = bool(os.environ.get("FLOWKIT_SOAK"))

NEEDS = {
    "blizzard_week/flow.py": ("pandas", "sklearn", "matplotlib"),
    "ports/hamilton_hello.py": ("pandas",),
}


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """A copy of all examples in a project of their own; the current folder is its root."""
    skipped = shutil.ignore_patterns("__pycache__", ".flowkit", "out")
    shutil.copytree(EXAMPLES, tmp_path, ignore=skipped, dirs_exist_ok=True)
    (tmp_path / "flowkit.toml").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(*words):
    """Run ``flowkit`` in the current folder; return what became of it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("FLOWKIT_")}
    return subprocess.run(
        [sys.executable, "-m", "flowkit", *words],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**env, "NO_COLOR": "1"},
    )


def words(run):
    return {node.node: node.word for node in run.report.nodes}


def executed(run):
    return {node.node for node in run.report.nodes if node.attempts}


def skip_without(flow):
    for module in NEEDS.get(flow, ()):
        pytest.importorskip(module)


def test_no_example_is_forgotten():
    assert FLOWS == [
        "blizzard_week/flow.py",
        "failure/flow.py",
        "fan_out/flow.py",
        "hello/hello.py",
        "own_plugin/flow.py",
        "ports/hamilton_hello.py",
        "ports/mapping.py",
        "ports/taskflow_etl.py",
        "ports/top_artists.py",
        "resources/flow.py",
    ]


@pytest.mark.parametrize("flow", FLOWS)
def test_an_example_runs_and_ends_as_documented(examples, flow):
    skip_without(flow)
    ended = command("run", flow)
    assert ended.returncode == EXIT_CODES.get(flow, 0), ended.stdout + ended.stderr
    assert not ended.stderr


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if flow not in EXIT_CODES])
def test_a_second_run_of_an_example_ends_alike(examples, flow):
    skip_without(flow)
    assert command("run", flow).returncode == 0
    assert command("run", flow).returncode == 0


@pytest.mark.parametrize("flow", FLOWS)
def test_an_example_keeps_what_flowkit_promises_of_flows(examples, flow):
    skip_without(flow)
    few = "1" if flow == "blizzard_week/flow.py" else "2"  # one case of each takes it twenty seconds
    ended = command("test", flow, "--examples", "20" if SOAK else few)
    broken = {line.split()[0] for line in ended.stdout.splitlines() if " FAILED " in line}
    assert broken <= BROKEN.get(flow, set()), ended.stdout + ended.stderr
    assert "hold, " in ended.stdout


@pytest.mark.parametrize("flow", FLOWS)
def test_an_example_says_what_it_shows(flow):
    assert (EXAMPLES / flow).read_text().startswith('"""')


@pytest.mark.parametrize("flow", [flow for flow in FLOWS if "blizzard" not in flow])
def test_an_example_is_short(flow):
    lines = [line for line in (EXAMPLES / flow).read_text().splitlines() if line.strip()]
    assert len(lines) <= 60


def test_hello_takes_a_name(examples):
    run = flowkit.run("hello/hello.py", params={"name": "Ada"})
    assert run["banner"] == "Hello, Ada!\n-----------"


class TestFailure:
    """failure/flow.py"""

    def test_a_full_disk_fails_the_run_and_those_who_asked_for_the_failure_run(self, examples):
        run = flowkit.run("failure/flow.py")
        assert not run.ok
        assert words(run) == {
            "rates": "failed",
            "rates_of_yesterday": "ran",
            "advert": "failed",
            "store": "failed",
            "page_oncall": "ran",
            "announce": "upstream",
            "clean_up": "ran",
            "incident": "ran",
        }
        assert run["page_oncall"] == "paged: no space left on device"
        assert run["clean_up"] == "half a file removed (no space left on device)"
        with pytest.raises(OSError, match="no space left"):
            run["store"]

    def test_with_space_on_the_disk_the_run_is_fine(self, examples):
        run = flowkit.run("failure/flow.py", params={"disk_full": False})
        assert run.ok
        assert run["rates"] == {"USD": 1.08, "GBP": 0.84}
        assert run["announce"] == "2 rates stored"
        assert run["clean_up"] == "nothing to clean up after 2 rates"
        assert words(run)["page_oncall"] == "skipped"
        assert run["incident"] == "an entry in the incident log"

    def test_the_command_line_says_so_by_its_exit_code(self, examples):
        assert command("run", "failure/flow.py", "-P", "disk_full=false").returncode == 0


class TestFanOut:
    """fan_out/flow.py"""

    def test_groups_gather_what_was_not_filtered_out(self, examples):
        run = flowkit.run("fan_out/flow.py")
        assert run["report"].splitlines() == [
            "north: 176 (Ayr-mon, Leith-mon, Leith-tue)",
            "south: 84 (Bath-tue)",
        ]

    def test_elements_multiply_nest_and_align(self, examples):
        run = flowkit.run("fan_out/flow.py")
        ids = [n for n in words(run) if n.startswith("takings")]
        assert sorted(ids) == [
            "takings[north-Ayr-mon]",
            "takings[north-Ayr-tue]",
            "takings[north-Leith-mon]",
            "takings[north-Leith-tue]",
            "takings[south-Bath-mon]",
            "takings[south-Bath-tue]",
        ]
        assert run["takings[north-Leith-tue]"] == 96
        assert words(run)["sold[south-Bath-mon]"] == "skipped"
        assert words(run)["takings[south-Bath-mon]"] == "skipped"


class TestResources:
    """resources/flow.py"""

    @pytest.mark.parametrize("executor", ["inline", "threads"])
    def test_the_database_holds_what_all_tasks_wrote(self, examples, executor):
        run = flowkit.run("resources/flow.py", executor=executor)
        assert run.ok
        assert run["sum_of_sales"] == 23

    def test_nothing_that_lives_in_the_database_is_reused(self, examples):
        flowkit.run("resources/flow.py")
        again = flowkit.run("resources/flow.py")
        assert again["sum_of_sales"] == 23
        assert "cached" not in again.report.counts


class TestOwnPlugin:
    """own_plugin/"""

    def test_the_report_has_the_plugins_section_and_header(self, examples):
        ended = command("run", "own_plugin/flow.py")
        assert "example: tasks with owners" in ended.stdout
        assert "ana: 2 well, 0 wrong" in ended.stdout
        assert "ben: 1 well, 0 wrong" in ended.stdout

    def test_the_section_says_whom_to_ask(self, examples):
        ended = command("run", "own_plugin/flow.py", "-P", "stock=0")
        assert ended.returncode == 1
        assert "ben: 0 well, 1 wrong, ask ext. 34 about sold" in ended.stdout

    def test_the_plugins_resource_arrives(self, examples):
        assert flowkit.run("own_plugin/flow.py")["duty_note"] == "On duty: ana, ext. 21"

    def test_an_owner_that_does_not_exist_is_a_collection_error(self, examples):
        flow = examples / "own_plugin/flow.py"
        flow.write_text(flow.read_text().replace('owner="ben"', 'owner="bob"'))
        with pytest.raises(flowkit.FlowError, match="nobody is called 'bob'"):
            flowkit.run(flow)


class TestTaskflowEtl:
    """ports/taskflow_etl.py"""

    def test_it_prints_the_total(self, examples):
        ended = command("run", "ports/taskflow_etl.py", "-s")
        assert "Total order value is: 1236.70" in ended.stdout

    def test_the_output_is_captured_without_s(self, examples):
        assert "Total order value" not in command("run", "ports/taskflow_etl.py").stdout

    def test_three_tasks_in_a_line(self, examples):
        run = flowkit.run("ports/taskflow_etl.py")
        assert words(run) == {"extract": "ran", "transform": "ran", "load": "ran"}
        assert run["extract"] == {"1001": 301.27, "1002": 433.21, "1003": 502.22}
        assert run["total_order_value"] == pytest.approx(1236.70)


class TestMapping:
    """ports/mapping.py"""

    @pytest.mark.parametrize(("n", "total"), [(3, 15), (0, 0), (10, 85), (10_000, 50_035_000)])
    def test_the_sum(self, examples, n, total):
        run = flowkit.run("ports/mapping.py", params={"n": n})
        assert run["total"] == total
        assert len(run["one_more"]) == n

    def test_one_twice_is_twelve(self, examples):
        assert flowkit.run("ports/mapping.py", params={"step": 1})["total"] == 12

    def test_a_longer_list_runs_only_what_is_new(self, examples):
        flowkit.run("ports/mapping.py")
        more = flowkit.run("ports/mapping.py", params={"n": 4})
        assert executed(more) == {"numbers", "one_more[4]", "some_more[4]", "total"}
        assert more["total"] == 22


class TestHamilton:
    """ports/hamilton_hello.py"""

    FLOW = "ports/hamilton_hello.py"

    @pytest.fixture(autouse=True)
    def _pandas(self):
        pytest.importorskip("pandas")

    def test_the_columns(self, examples):
        run = flowkit.run(self.FLOW)
        rolling = [None if value != value else round(value, 6) for value in run["avg_3wk_spend"]]
        assert rolling == HAMILTON["avg_3wk_spend"]
        assert list(run["spend_per_signup"]) == HAMILTON["spend_per_signup"]
        assert round(run["spend_mean"], 6) == HAMILTON["spend_mean"]
        assert round(run["spend_std_dev"], 6) == HAMILTON["spend_std_dev"]
        scaled = [round(value, 6) for value in run["spend_zero_mean_unit_variance"]]
        assert scaled == HAMILTON["zero_mean_unit_var"]

    def test_one_column_alone_runs_no_other(self, examples):
        run = flowkit.run(f"{self.FLOW}::spend_per_signup")
        assert words(run) == {"spend_per_signup": "ran"}

    def test_a_value_in_place_of_the_mean_runs_only_what_hangs_off_it(self, examples):
        flowkit.run(self.FLOW)
        run = flowkit.run(self.FLOW, override={"spend_mean": 30.0})
        assert executed(run) == {"spend_zero_mean", "spend_zero_mean_unit_variance"}
        assert list(run["spend_zero_mean"]) == [-20, -20, -10, 10, 10, 20]

    def test_the_command_line_takes_it_too(self, examples):
        command("run", self.FLOW)
        ended = command("run", self.FLOW, "-O", "spend_mean=30")
        assert ended.returncode == 0
        assert "2 ran, 3 cached" in ended.stdout


TOP_TEN = {
    "ATL": 315, "BOS": 300, "ORD": 280, "FLL": 257, "LAX": 257,
    "MCO": 255, "CLT": 241, "MIA": 222, "DCA": 210, "SFO": 197,
}  # fmt: skip


class TestTopArtists:
    """ports/top_artists.py"""

    FLOW = "ports/top_artists.py"

    def test_the_top_ten_with_ties_by_name(self, examples):
        run = flowkit.run(self.FLOW)
        assert list(run["top_artists"].items()) == list(TOP_TEN.items())
        assert len(run["artist_count"]) == 92

    def test_the_file_is_below_out(self, examples):
        flowkit.run(self.FLOW)
        lines = (examples / "out/top_artists_file/top_artists.tsv").read_text().splitlines()
        assert lines == [f"{artist}\t{count}" for artist, count in TOP_TEN.items()]

    def test_two_more_days_run_two_day_tasks(self, examples):
        flowkit.run(self.FLOW, params={"last": "2013-02-08"})
        run = flowkit.run(self.FLOW)
        days = {node for node in executed(run) if node.startswith("day_count")}
        assert days == {
            "day_count[flights_2013-02-09.csv]",
            "day_count[flights_2013-02-10.csv]",
        }
