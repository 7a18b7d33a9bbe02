"""``flowkit graph``: every task once, every line labelled, at any size, in four formats."""

import re
import shutil
import subprocess
import time
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from flowkit_plugins.drawing.command import collected
from flowkit_plugins.drawing.layout import arrange
from flowkit_plugins.drawing.markup import dot, mermaid
from flowkit_plugins.drawing.model import Box, Cluster, Drawing, Kind, Line
from flowkit_plugins.drawing.svg import svg
from flowkit_plugins.drawing.text import text

FLOW = '''
    from flowkit import Collected, Failure, Outcome, resource, task

    @resource(scope="run")
    def base(dsn: str = "x"): yield 1

    @resource(scope="worker")
    def warehouse(base): yield 1

    @task
    def stations() -> list[str]:
        """Where it is measured."""
        return ["LHR"]

    @task(each={"station": "stations"})
    def readings(station: str) -> int: return 1

    @task
    def mean(readings: int) -> float: return 1.0

    @task
    def report(mean: Collected[float], warehouse) -> str: return ""

    @task(provides=["train", "test"])
    def split(report): return 1, 2

    @task
    def fit(train): return train

    @task(fallback="old", allow_failure=True)
    def load(report, log) -> int: return 1

    @task
    def old() -> int: return 0

    @task
    def page(load: Failure[OSError]): ...

    @task
    def audit(load: Outcome[int]): ...

    @task(needs=["load", "mean"], trigger="any_failed")
    def incident(): ...
'''


@pytest.fixture
def flow(project):
    project.write("m.py", FLOW)
    return project


def graph(project, *words, code=0, **keywords):
    ended = project.flowkit("graph", *words, **keywords)
    assert "Traceback" not in ended.err
    assert ended.exit_code == code, ended
    return ended.out + ended.err


def a_drawing(edges, count, **looks):
    """A drawing of ``count`` boxes with value lines between these."""
    boxes = [Box(f"t{n}", **looks) for n in range(count)]
    cluster = Cluster("m.py", boxes, [Line(boxes[a], boxes[b], Kind.VALUE) for a, b in edges])
    layers(cluster)
    return Drawing([cluster])


def layers(cluster):
    from flowkit_plugins.drawing import model

    model._assign_layers(cluster)


# --- text ---------------------------------------------------------------------------------------


def test_the_text_of_a_flow(flow):
    assert graph(flow, "m.py") == (
        "m.py\n"
        "  stations\n"
        "  ↓ readings [stations]  each\n"
        "  ↓ mean [stations]\n"
        "  ⇣ report               collected\n"
        "  ├─ split\n"
        "  │  ↓ fit               train\n"
        "  ↓ load                 may fail\n"
        "  ├┄ old                 fallback\n"
        "  ├─ page                if OSError\n"
        "  ├─ audit               however it ends\n"
        "  ⇣ incident             needs; also after mean (needs); trigger: any_failed\n"
    )


def test_a_task_is_drawn_with_what_it_needs_alone(flow):
    assert graph(flow, "m.py::mean").splitlines() == [
        "m.py",
        "  stations",
        "  ↓ readings [stations]  each",
        "  ↓ mean [stations]",
    ]


def test_resources_are_drawn_on_request_but_not_those_of_plugins(flow):
    assert "warehouse" not in graph(flow, "m.py")
    out = graph(flow, "m.py", "--resources")
    assert "base" in out
    assert "worker resource" in out
    assert "warehouse" in out
    assert " log" not in out


def test_several_flows_stand_one_below_the_other(flow):
    flow.write("n.py", "from flowkit import task\n@task\ndef other(): return 1\n")
    assert "\n\nn.py\n  other\n" in graph(flow, "m.py", "n.py")


def test_a_screen_without_line_characters_gets_plain_ones(flow):
    out = graph(flow, "m.py", env={"PYTHONIOENCODING": "ascii"})
    assert "  +- split" in out
    assert out.isascii()


def test_every_task_stands_in_the_text_once_and_is_set_in_little():
    edges = [(n // 2, n) for n in range(1, 1023)] + [(n, n + 7) for n in range(0, 1000, 3)]
    lines = text(a_drawing(edges, 1023)).splitlines()[1:]
    names = [re.search(r"t\d+", line)[0] for line in lines]
    assert sorted(names) == sorted(f"t{n}" for n in range(1023))
    assert max(len(line) - len(line.lstrip(" │├─┄↓⇣")) for line in lines) <= 3 * 11


# --- dot and mermaid ----------------------------------------------------------------------------


def test_dot_has_clusters_dashed_lines_and_marked_maps(flow):
    out = graph(flow, "m.py", "--format", "dot")
    assert 'subgraph cluster_0 {\n    label="m.py";' in out
    assert re.search(r'label="mean\\n× stations", peripheries=2', out)
    assert '[label="collected", style=dashed]' in out
    assert '[label="fallback", style=dashed]' in out
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=out.encode(), capture_output=True, check=True)


def test_mermaid_has_subgraphs_dashed_arrows_and_marked_maps(flow):
    out = graph(flow, "m.py", "--format", "mermaid")
    assert out.startswith('flowchart LR\n  subgraph f0["m.py"]\n')
    assert '[["mean<br/>#215; stations"]]' in out
    assert '-.->|"collected"|' in out


def test_odd_names_are_escaped_in_every_format():
    drawing = a_drawing([(0, 1)], 2)
    box = drawing.clusters[0].boxes[0]
    box.name, box.doc = 'a"<b>&`|\\', "</title><script>"
    drawing.clusters[0].title = "<m>.py"
    assert r'label="a\"<b>&`|\\"' in dot(drawing)
    assert "a#34;#60;b#62;#38;#96;|#92;" in mermaid(drawing)
    document = svg(drawing)
    assert "<script" not in document
    root = ET.fromstring(document)
    assert 'a"<b>&`|\\' in "".join(root.itertext())


# --- svg ----------------------------------------------------------------------------------------


def test_the_svg_is_whole_well_formed_and_needs_nothing_else(flow):
    out = graph(flow, "m.py", "--format", "svg", "--resources")
    root = ET.fromstring(out)
    said = {element.text for element in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"stations", "mean", "× stations", "collected", "fallback", "if OSError"} <= said
    assert {"trigger: any_failed", "may fail", "run resource"} <= said
    assert "prefers-color-scheme: dark" in out
    assert "<script" not in out
    assert not re.search(r"(href|src)=|url\((?!#)", out)


def test_a_control_character_in_a_name_breaks_no_svg(project):
    project.write("m.py", "from flowkit import task\n@task(name='a\\x07b')\ndef f(): return 1\n")
    ET.fromstring(graph(project, "m.py", "--format", "svg"))
    assert "\x07" not in graph(project, "m.py")


def test_boxes_of_a_layer_do_not_overlap_and_lines_go_to_the_right():
    edges = [(a, b) for a in range(40) for b in range(a + 1, 40) if (a * 7 + b) % 5 == 0]
    (cluster,) = a_drawing(edges, 40).clusters
    layout = arrange(cluster, lambda box: 32.0, 18.0)
    for layer in layout.layers:
        for one, other in pairwise(layer):
            assert other.y - one.y >= (one.height + other.height) / 2 - 1e-6
    for line, way in layout.ways.items():
        assert line.source.layer < line.target.layer
        assert len(way) == line.target.layer - line.source.layer + 1


def test_a_chain_is_straight():
    (cluster,) = a_drawing([(n, n + 1) for n in range(9)], 10).clusters
    layout = arrange(cluster, lambda box: 32.0, 18.0)
    assert len({spot.y for spot in layout.spots.values()}) == 1


def test_crossings_that_need_not_be_are_not():
    (cluster,) = a_drawing([(0, 5), (1, 4), (2, 3)], 6).clusters
    spots = arrange(cluster, lambda box: 32.0, 18.0).spots
    place = {box.name: spot.y for box, spot in spots.items()}
    assert (place["t0"] < place["t1"]) == (place["t5"] < place["t4"])
    assert (place["t1"] < place["t2"]) == (place["t4"] < place["t3"])


@pytest.mark.parametrize("shape", ["chain", "wide", "dense"])
def test_a_thousand_tasks_are_drawn_in_seconds_and_without_recursion(shape):
    edges = {
        "chain": [(n, n + 1) for n in range(1999)],
        "wide": [(0, n) for n in range(1, 1999)] + [(n, 1999) for n in range(1, 1999)],
        "dense": [(n - step, n) for n in range(2000) for step in (1, 37, 211) if n >= step],
    }[shape]
    drawing = a_drawing(edges, 2000)
    started = time.perf_counter()
    for draw in (text, dot, mermaid, svg):
        assert draw(drawing)
    assert time.perf_counter() - started < 20


def test_a_flow_of_a_thousand_tasks_goes_through_the_command(project):
    tasks = [f"@task\ndef t{n}({f't{n - 1}' if n else ''}): return {n}\n" for n in range(1000)]
    project.write("m.py", "from flowkit import task\n" + "".join(tasks))
    (cluster,) = collected(["m.py"]).clusters
    assert [box.layer for box in cluster.boxes] == list(range(1000))
    assert graph(project, "m.py").count("\n") == 1001


# --- what a fallback is -------------------------------------------------------------------------


def test_a_fallback_that_others_use_too_is_drawn_once(project):
    project.write(
        "m.py",
        """
        from flowkit import task

        @task
        def spare(): return 0

        @task(fallback="spare")
        def first(): return 1

        @task
        def second(spare): return 2
        """,
    )
    for kind in ("text", "dot", "mermaid", "svg"):
        assert "second" in graph(project, "m.py", "--format", kind)


# --- the command --------------------------------------------------------------------------------


def test_the_name_of_the_file_says_the_format(flow):
    for name, start in (
        ("g.svg", "<svg"),
        ("g.dot", "digraph"),
        ("g.mmd", "flowchart"),
        ("g.txt", "m.py"),
    ):
        assert graph(flow, "m.py", "-o", name) == ""
        assert flow.read(name).startswith(start)
    graph(flow, "m.py", "--format", "dot", "-o", "g.any")
    assert flow.read("g.any").startswith("digraph")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), "no target"),
        (("nowhere.py",), "no such file or folder"),
        (("m.py::mena",), "Did you mean 'mean'?"),
        (("m.py", "--format", "png"), "'png' is not one of"),
        (("m.py", "-o", "g.png"), "nothing says how to draw into .png files"),
        (("m.py", "-o", "no/g.svg"), "cannot be written: No such file or directory"),
        (("broken.py",), "asks for"),
    ],
)
def test_wrong_inputs_are_said(flow, words, expected):
    flow.write(
        "broken.py",
        "from flowkit import task\n@task\ndef a(b): return 1\n@task\ndef b(a): return 1\n",
    )
    if words == ("broken.py",):
        expected = "a cycle"
    assert expected in graph(flow, *words, code=4)


def test_nothing_is_called_and_no_parameter_is_needed(project):
    project.write(
        "m.py",
        """
        from flowkit import task

        @task
        def a(required: int): open("called", "w")
        """,
    )
    assert "a" in graph(project, "m.py")
    assert not (project.root / "called").exists()
