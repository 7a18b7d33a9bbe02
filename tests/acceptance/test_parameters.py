"""Parameters: where values come from, how text becomes what the annotation says, and what is refused (§3)."""

import importlib
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from flowkit import FlowError

ECHO = """
    @task
    def echo(x: {annotation}): return x
"""

# Conversion


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        ("int", "3", 3),
        ("float", "3", 3.0),
        ("bool", "true", True),
        ("bool", "no", False),
        ("str", "3", "3"),
        ("str", "[1]", "[1]"),
        ("str | None", "null", "null"),
        ("int | None", "null", None),
        ("int | None", "3", 3),
        ("list[float]", "[1,2,3,4]", [1.0, 2.0, 3.0, 4.0]),
        ("dict[str, int]", '{"a": 1}', {"a": 1}),
        ("set[int]", "[1, 1]", {1}),
        ("tuple[int, str]", '[1, "a"]', (1, "a")),
        ("Path", "a/b.csv", Path("a/b.csv")),
        ("datetime.date", "2024-01-01", date(2024, 1, 1)),
        ("datetime.datetime", "2024-01-01T00:00:00Z", datetime(2024, 1, 1, tzinfo=UTC)),
        ("datetime.timedelta", "PT1H", timedelta(hours=1)),
        ('Literal["a", "b"]', "a", "a"),
        ("Any", "3", 3),
        ("Any", "three", "three"),
        ("bytes", "abc", b"abc"),
    ],
)
def test_text_becomes_what_the_annotation_says(flow, monkeypatch, annotation, text, value):
    monkeypatch.setenv("FLOWKIT_PARAM_X", text)  # read as -P is
    got = flow(f"\nimport datetime\n@task\ndef echo(x: {annotation}): return x\n").value("echo")
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("annotation", "text", "value"),
    [
        ("Decimal", "100000000000000000000.01", Decimal("100000000000000000000.01")),
        ("Decimal", "1e400", Decimal("1e400")),
        ("Annotated[Decimal, Field(gt=0)]", "0.10", Decimal("0.10")),
        ("Decimal | None", "100000000000000000000.01", Decimal("100000000000000000000.01")),
        ("list[Decimal]", "[100000000000000000000.01, 1]", [Decimal("100000000000000000000.01"), Decimal(1)]),
        ("Price", '{"at": 1.5, "amount": 100000000000000000000.01}', (1.5, Decimal("100000000000000000000.01"))),
    ],
)
def test_numbers_keep_their_digits(flow, monkeypatch, annotation, text, value):
    monkeypatch.setenv("FLOWKIT_PARAM_X", text)
    got = flow(f"""
        from decimal import Decimal
        from pydantic import Field
        class Price(NamedTuple):
            at: float
            amount: Decimal
        @task
        def echo(x: {annotation}): return tuple(x) if isinstance(x, Price) else x
    """).value("echo")
    assert repr(got) == repr(value)


def test_text_of_the_command_line_becomes_what_the_annotation_says(flow, project):
    flow("""
        import datetime
        @task
        def f(since: datetime.date, bbox: list[int]): Path("x").write_text(f"{since!r} {bbox}")
    """)
    assert project.flowkit("run", "m.py", "-P", "since=2024-01-01", "-P", "bbox=[1,2,3,4]").exit_code == 0
    assert project.read("x") == "datetime.date(2024, 1, 1) [1, 2, 3, 4]"


@pytest.mark.parametrize(
    ("annotation", "given", "value"),
    [("int", "3", 3), ("int", 3, 3), ("Path", "a", Path("a")), ("list[int]", ("1", 2), [1, 2]), ("float", 3, 3.0)],
)
def test_values_from_python_are_converted_too(flow, annotation, given, value):
    got = flow(ECHO.format(annotation=annotation)).value("echo", params={"x": given})
    assert got == value
    assert type(got) is type(value)


def test_an_unannotated_parameter_has_the_type_of_its_default(flow):
    f = flow("""
        @task
        def f(n=3, name="x", ratio=0.5, on=False): return n, name, ratio, on
    """)
    given = {"n": "5", "name": "7", "ratio": "1", "on": "true"}
    assert f.value("f", params=given) == (5, "7", 1.0, True)


def test_with_neither_annotation_nor_default_it_is_json_if_it_parses_else_text(flow, project):
    flow("""
        @task
        def f(a, b): Path("x").write_text(repr((a, b)))
    """)
    assert project.flowkit("run", "m.py", "-P", "a=[1, 2]", "-P", "b=[1").exit_code == 0
    assert project.read("x") == "([1, 2], '[1')"


def test_a_pydantic_model_is_a_parameters_type(flow):
    f = flow("""
        import pydantic
        class Box(pydantic.BaseModel):
            west: float
            east: float = 1.0
        @task
        def f(box: Box): return type(box).__name__, box.west, box.east
    """)
    assert f.value("f", params={"box": {"west": "2"}}) == ("Box", 2.0, 1.0)


def test_a_dataclass_is_a_parameters_type(flow):
    f = flow("""
        from dataclasses import dataclass
        @dataclass
        class Box:
            west: float
        @task
        def f(box: Box): return type(box).__name__, box.west
    """)
    assert f.value("f", params={"box": {"west": "2"}}) == ("Box", 2.0)


def test_a_model_is_typed_as_json_on_the_command_line(flow, project):
    flow("""
        import pydantic
        class Box(pydantic.BaseModel):
            west: float
        @task
        def f(box: Box): Path("x").write_text(repr(box.west))
    """)
    assert project.flowkit("run", "m.py", "-P", 'box={"west": 2}').exit_code == 0
    assert project.read("x") == "2.0"


def test_constraints_in_annotated_hold(flow):
    f = flow("""
        from pydantic import Field
        @task
        def f(n: Annotated[int, Field(ge=1)] = 1): return n
    """)
    assert f.value("f", params={"n": 2}) == 2
    assert "'n'" in f.refusal(params={"n": 0})


def test_an_enum_is_given_by_value(flow):
    f = flow("""
        import enum
        class Mode(enum.Enum):
            fast = "f"
        @task
        def f(mode: Mode): return mode.name
    """)
    assert f.value("f", params={"mode": "f"}) == "fast"


def test_a_relative_path_stays_relative_to_the_current_folder(flow):
    f = flow("""
        @task
        def f(source: Path = Path("data/x.csv")): return source
    """, "sub/m.py")
    assert f.value("f") == Path("data/x.csv")


def test_a_path_whose_file_is_missing_is_no_collection_error(flow):
    f = flow("""
        @task
        def f(source: Path = Path("gone.csv")): return source.read_text()
    """)
    run = f.run()
    assert not run.ok
    assert isinstance(run.outcomes["f"].error, FileNotFoundError)


# Where values come from


def test_nearer_wins_command_line_environment_file_default(flow, project):
    flow("""
        @task
        def f(a: int = 0, b: int = 0, c: int = 0, d: int = 0): Path("x").write_text(repr((a, b, c, d)))
    """)
    project.write("p.json", '{"a": 1, "b": 1, "c": 1}')
    env = {"FLOWKIT_PARAM_A": "2", "FLOWKIT_PARAM_B": "2"}
    assert project.flowkit("run", "m.py", "-P", "a=3", "--params", "p.json", env=env).exit_code == 0
    assert project.read("x") == "(3, 2, 1, 0)"


@pytest.mark.parametrize(
    ("name", "text"),
    [("p.json", '{"n": 4, "names": ["a"]}'), ("p.toml", 'n = 4\nnames = ["a"]\n'), ("p.yaml", "n: 4\nnames: [a]\n")],
)
def test_a_file_of_parameters_is_json_toml_or_yaml(flow, project, name, text):
    project.write(name, text)
    f = flow("""
        @task
        def f(n: int, names: list[str]): return n, names
    """)
    assert f.value("f", params=name) == (4, ["a"])
    assert f.value("f", params=project.root / name) == (4, ["a"])


def test_the_environment_counts_in_python_too(flow, monkeypatch):
    monkeypatch.setenv("FLOWKIT_PARAM_N", "8")
    f = flow("""
        @task
        def f(n: int): return n
    """)
    assert f.value("f") == 8
    assert f.value("f", params={"n": 9}) == 9


def test_names_are_upper_cased_for_the_environment(flow, monkeypatch):
    monkeypatch.setenv("FLOWKIT_PARAM_START_DATE", "2024-01-01")
    f = flow("""
        @task
        def f(start_date: str): return start_date
    """)
    assert f.value("f") == "2024-01-01"


def test_an_unknown_name_in_the_environment_is_ignored(flow, monkeypatch):
    monkeypatch.setenv("FLOWKIT_PARAM_OTHER", "8")
    f = flow("""
        @task
        def f(n: int = 1): return n
    """)
    assert f.value("f") == 1


def test_a_resource_has_parameters_too(flow):
    f = flow("""
        @resource
        def db(dsn: str = "sqlite"): yield dsn
        @task
        def f(db): return db
    """)
    assert f.value("f") == "sqlite"
    assert f.value("f", params={"dsn": "pg"}) == "pg"


# What is refused


def test_all_parameter_errors_are_reported_at_once_each_with_where_its_value_came_from(flow, project):
    flow("""
        @task
        def f(a: int, b: int, c: int, d: int): pass
    """)
    project.write("p.json", '{"c": "x3"}')
    ended = project.flowkit(
        "run", "m.py", "-P", "a=x1", "--params", "p.json", "-P", "zzz=1", env={"FLOWKIT_PARAM_B": "x2"}
    )
    assert ended.exit_code == 4
    for name, origin in (("'a'", "-P a=x1"), ("'b'", "FLOWKIT_PARAM_B"), ("'c'", "p.json"), ("'d'", "-P d="), ("'zzz'", "-P")):
        assert name in ended.err
        assert origin in ended.err


def test_the_same_parameter_in_two_tasks_is_one_parameter(flow):
    f = flow("""
        @task
        def a(n: int = 1): return n
        @task
        def b(n: int = 1): return n
    """)
    run = f.run(params={"n": 5})
    assert (run["a"], run["b"]) == (5, 5)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("n: int = 1", "n: int = 2"),
        ("n: int = 1", "n: float = 1"),
        ("n: int", "n: int = 1"),
        ("n: int = 1", "n: bool = 1"),
        ("n: int = 1", "n: int = True"),
    ],
)
def test_a_parameter_declared_in_two_ways_is_an_error_naming_both_places(flow, one, two):
    text = flow(f"""
        @task
        def a({one}): pass
        @task
        def b({two}): pass
    """).refusal(params={"n": 1})
    assert "'n'" in text
    assert "'a'" in text
    assert "'b'" in text
    assert text.count("m.py:") >= 2


def test_a_resource_and_a_task_must_agree_on_a_parameter(flow):
    text = flow("""
        @resource
        def db(n: int = 1): yield n
        @task
        def b(db, n: int = 2): pass
    """).refusal()
    assert "'n'" in text
    assert "'db'" in text


def test_annotations_are_compared_after_evaluation(flow):
    f = flow("""
        @task
        def a(n: "int" = 1): return n
        @task
        def b(n: int = 1): return n
    """)
    assert f.run().ok


def test_an_unknown_name_is_an_error_with_the_nearest(flow):
    text = flow("""
        @task
        def f(station: str = "LHR"): pass
    """).refusal(params={"stations": "x"})
    assert "'stations'" in text
    assert "Did you mean 'station'?" in text


def test_an_unknown_name_in_a_file_is_an_error(flow, project):
    project.write("p.json", '{"stations": 1}')
    f = flow("""
        @task
        def f(station: str = "LHR"): pass
    """)
    text = f.refusal(params="p.json")
    assert "'stations'" in text
    assert "p.json" in text


def test_a_required_parameter_without_value_says_who_asked_where_what_exists_and_the_nearest(flow):
    text = flow("""
        @task
        def f(station: str, stat: str = "x"): Path("ran").touch()
    """).refusal()
    assert "'f'" in text
    assert "m.py:2" in text or "m.py:3" in text
    assert "'station'" in text
    assert "-P station=" in text


def test_a_required_parameter_is_not_demanded_if_no_selected_task_needs_it(flow):
    f = flow("""
        @task
        def a(n: int): return n
        @task
        def b(): return 1
    """)
    assert f.run("::b").ok
    f.refusal()


def test_p_may_name_any_parameter_of_the_flow_even_if_it_is_not_needed(flow):
    f = flow("""
        @task
        def a(n: int): return n
        @task
        def b(): return 1
    """)
    assert f.run("::b", params={"n": 1}).ok


def test_a_value_that_does_not_fit_shows_value_and_type(flow):
    text = flow(ECHO.format(annotation="int")).refusal(params={"x": "many"})
    assert "'many'" in text
    assert "int" in text
    assert "'x'" in text


def test_only_the_unfit_part_of_a_model_is_named(flow):
    text = flow("""
        import pydantic
        class Box(pydantic.BaseModel):
            west: float
            east: float
        @task
        def f(box: Box): pass
    """).refusal(params={"box": {"west": 1, "east": "far"}})
    assert "east" in text


@pytest.mark.parametrize("argument", ["n", "=3", "", "n =x"])
def test_a_p_without_a_name_or_value_is_an_error(flow, project, argument):
    flow("""
        @task
        def f(n: int = 1): Path("ran").touch()
    """)
    ended = project.flowkit("run", "m.py", "-P", argument)
    assert ended.exit_code == 4
    assert "-P" in ended.err
    assert not (project.root / "ran").exists()


def test_a_value_may_be_empty_or_hold_an_equals_sign(flow, project):
    flow("""
        @task
        def f(a: str, b: str): Path("x").write_text(a + "|" + b)
    """)
    assert project.flowkit("run", "m.py", "-P", "a=", "-P", "b=k=v").exit_code == 0
    assert project.read("x") == "|k=v"


@pytest.mark.parametrize(
    ("name", "text"), [("gone.json", None), ("p.json", "{"), ("p.toml", "a ="), ("p.yaml", "a: ["), ("p.json", "[1]")]
)
def test_a_file_that_cannot_be_read_as_parameters_is_an_error(flow, project, name, text):
    if text is not None:
        project.write(name, text)
    flow("""
        @task
        def f(n: int = 1): Path("ran").touch()
    """)
    ended = project.flowkit("run", "m.py", "--params", name)
    assert ended.exit_code == 4
    assert name in ended.err
    assert "Traceback" not in ended.err


def test_a_parameter_cannot_be_collected(flow):
    text = flow("""
        @task
        def f(xs: Collected[int]): pass
    """).refusal(params={"xs": [1]})
    assert "'xs'" in text


def test_a_parameter_has_no_outcome(flow):
    text = flow("""
        @task
        def lod(): pass
        @task
        def f(load: Failure): pass
    """).refusal()
    assert "'load'" in text
    assert "'lod'" in text


# Secrets


SECRET = """
    from pydantic import SecretStr
    @task
    def f(token: SecretStr, n: int = 1):
        print("token", token)
        raise RuntimeError("with " + token.get_secret_value())
"""


def test_a_secret_arrives_as_such(flow):
    f = flow("""
        from pydantic import SecretStr
        @task
        def f(token: SecretStr): return token.get_secret_value().upper()
    """)
    assert f.value("f", params={"token": "hunter22"}) == "HUNTER22"


def test_a_secret_that_does_not_fit_is_not_shown_in_the_error(flow):
    f = flow("""
        from pydantic import Field, SecretStr
        @task
        def f(token: Annotated[SecretStr, Field(min_length=20)]): pass
    """)
    text = f.refusal(params={"token": "hunter22"})
    assert "'token'" in text
    assert "hunter22" not in text


def test_a_secret_is_not_in_what_the_command_line_prints(flow, project):
    flow(SECRET)
    ended = project.flowkit("run", "m.py", "-P", "token=hunter22", "-v", "-s", "-rA")
    assert ended.exit_code == 1
    assert "hunter22" not in ended.out + ended.err


# -O


def test_an_override_given_as_text_is_converted_by_the_arguments_annotation(flow, project):
    flow("""
        @task
        def f(limit: int = 1): Path("x").write_text(repr(limit))
    """)
    assert project.flowkit("run", "m.py", "-O", "limit=5").exit_code == 0
    assert project.read("x") == "5"


def test_an_override_of_a_task_is_converted_by_its_return_annotation(flow, project):
    flow("""
        @task
        def raw() -> list[float]: return []
        @task
        def f(raw): Path("x").write_text(repr(raw))
    """)
    assert project.flowkit("run", "m.py", "-O", "raw=[1, 2]").exit_code == 0
    assert project.read("x") == "[1.0, 2.0]"


def test_an_override_of_a_task_without_annotation_is_json_if_it_parses_else_text(flow, project):
    flow("""
        @task
        def a(): return 0
        @task
        def b(): return 0
        @task
        def f(a, b): Path("x").write_text(repr((a, b)))
    """)
    assert project.flowkit("run", "m.py", "-O", "a=[1, 2]", "-O", "b=[1").exit_code == 0
    assert project.read("x") == "([1, 2], '[1')"


def test_an_override_names_a_function_in_another_file(flow, project):
    project.write("fakes.py", "from flowkit import task\n@task\ndef raw(n: int = 3): return n\n")
    flow("""
        @task
        def raw(): return 0
        @task
        def f(raw): Path("x").write_text(repr(raw))
    """)
    assert project.flowkit("run", "m.py", "-O", "raw=fakes.py::raw", "-P", "n=4").exit_code == 0
    assert project.read("x") == "4"


def test_an_override_may_name_a_plain_function(flow, project):
    project.write("fakes.py", "def fake(n: int = 3): return n\n")
    flow("""
        @task
        def raw(): return 0
        @task
        def f(raw): Path("x").write_text(repr(raw))
    """)
    assert project.flowkit("run", "m.py", "-O", "raw=fakes.py::fake").exit_code == 0
    assert project.read("x") == "3"


@pytest.mark.parametrize(
    "override", ["raw", "=3", "rwa=1", "raw=gone.py::fake", "raw=fakes.py::gone", "raw=abc", "limit=abc"]
)
def test_an_override_that_cannot_be_used_is_an_error(flow, project, override):
    project.write("fakes.py", "def fake(n: int = 3): return n\n")
    flow("""
        @task
        def raw() -> int: return 0
        @task
        def f(raw, limit: int = 3): Path("ran").touch()
    """)
    ended = project.flowkit("run", "m.py", "-O", override)
    assert ended.exit_code == 4
    assert ended.err.strip()
    assert "Traceback" not in ended.err
    assert not (project.root / "ran").exists()


@pytest.mark.parametrize(("flag", "text"), [("-P", "=1"), ("-O", "=3")])
def test_a_value_without_a_name_is_told_to_lack_the_name(flow, project, flag, text):
    flow("\n@task\ndef f(): pass")
    ended = project.flowkit("run", "m.py", flag, text)
    assert ended.exit_code == 4
    assert f"{flag} {text}: no name before the '='" in ended.err


@pytest.mark.parametrize("keyword", ["params", "override"])
@pytest.mark.parametrize(("given", "problem"), [(5, "is an int"), ([("limit", 1)], "is a list"), ({1: 2}, "names are text: 1")])
def test_what_python_gives_by_name_has_to_have_names(flow, keyword, given, problem):
    text = flow("\n@task\ndef f(limit: int = 1): Path('ran').touch()").refusal(**{keyword: given})
    assert f"flowkit.run(): {keyword}: {problem}" in text
    assert f'Write {keyword}={{"name": value}}.' in text


def test_a_value_that_does_not_fit_is_to_be_given_the_way_it_was(flow, project):
    f = flow("\n@task\ndef f(limit: int = 1): Path('ran').touch()")
    text = f.refusal(override={"limit": "abc"})
    assert "from override['limit']" in text
    assert "Give a value that does: override={'limit': …}" in text
    assert "override['rest']: nothing asks for" in f.refusal(override={"rest": 1})
    assert "Give a value that does: -O limit=…" in project.flowkit("run", "m.py", "-O", "limit=abc").err
    assert "Give a value that does: -P limit=…" in project.flowkit("run", "m.py", "-P", "limit=abc").err


# Built-ins


def test_an_argument_named_as_a_plugins_resource_with_a_default_is_an_error_naming_it(flow):
    text = flow("""
        @task
        def f(run: int = 3): pass
    """).refusal()
    assert "'run'" in text
    assert "essentials" in text


def test_an_argument_named_as_a_plugins_resource_with_an_annotation_that_does_not_fit_is_an_error(flow):
    text = flow("""
        @task
        def f(log: bool): pass
    """).refusal()
    assert "'log'" in text
    assert "essentials" in text


def test_scheduled_at_is_a_datetime(flow):
    when = datetime(2024, 1, 1, tzinfo=UTC)
    f = flow("""
        import datetime
        @task
        def f(scheduled_at: datetime.datetime): return scheduled_at
    """)
    assert f.value("f", scheduled_at=when) == when
    assert f.value("f").tzinfo is not None


def test_run_says_id_flow_params_time_and_attempt(flow):
    f = flow("""
        @task
        def f(run, n: int = 1): return run.id, run.flow, dict(run.params), run.scheduled_at, run.attempt
    """)
    run = f.run(params={"n": 2})
    identity, name, params, when, attempt = run["f"]
    assert (identity, name, params, attempt) == (run.id, "m", {"n": 2}, 1)
    assert isinstance(when, datetime)


def test_log_is_a_logger_bound_to_the_node(flow):
    import logging

    f = flow("""
        @task
        def f(log): return log
    """)
    logger = f.run()["f"]
    assert isinstance(logger, (logging.Logger, logging.LoggerAdapter))


def test_tmp_path_is_a_private_folder_of_each_attempt(flow):
    f = flow("""
        @task(each={"x": [1, 2]})
        def f(x, tmp_path: Path): (tmp_path / "x").touch(); return tmp_path, sorted(p.name for p in tmp_path.iterdir())
    """)
    one, two = f.run()["f"]
    assert one[1] == two[1] == ["x"]
    assert one[0] != two[0]


def test_out_appears_only_when_the_task_succeeds_and_a_returned_path_is_the_final_one(flow, project):
    f = flow("""
        @task
        def good(out):
            path = out("table.csv"); path.write_text("x"); return path
        @task
        def bad(out):
            out("table.csv").write_text("x"); raise RuntimeError
        @task
        def use(good): return good, good.read_text()
    """)
    run = f.run()
    final = project.root / "out/good/table.csv"
    assert run["use"] == (final, "x")
    assert final.read_text() == "x"
    assert not (project.root / "out/bad/table.csv").exists()


def test_out_of_an_element_is_under_its_id(flow, project):
    f = flow("""
        @task(each={"x": ["a", "b"]})
        def f(x, out):
            out("t.txt").write_text(x)
    """)
    assert f.run().ok
    assert (project.root / "out/f[a]/t.txt").read_text() == "a"
    assert (project.root / "out/f[b]/t.txt").read_text() == "b"


def test_rng_is_the_same_sequence_each_time_and_another_for_each_node(flow):
    f = flow("""
        @task(each={"x": [1, 2]}, cache=False)
        def f(x, rng): return rng.random()
    """)
    first, again = list(f.run()["f"]), list(f.run()["f"])
    assert first == again
    assert first[0] != first[1]


# Defaults that cannot be compared


ARRAYS = """
    import numpy as np
    @task
    def a(x=np.zeros(3)): return x.sum()
    @task
    def b(x=np.zeros(3)): return x.sum()
"""


@pytest.mark.parametrize("command", ["run", "tasks", "plan", "graph"])
def test_an_array_as_a_default_is_one_like_any_other(flow, project, command):
    pytest.importorskip("numpy")
    flow(ARRAYS)
    ended = project.flowkit(command, "m.py")
    assert ended.exit_code == 0, ended.err


def test_two_arrays_as_defaults_are_the_same_if_their_content_is(flow):
    numpy = pytest.importorskip("numpy")
    f = flow(ARRAYS)
    assert f.value("b", params={"x": numpy.ones(3)}) == 3
    said = flow(ARRAYS.replace("def b(x=np.zeros(3))", "def b(x=np.ones(3))")).refusal()
    assert "parameter 'x' is declared in two ways" in said


def test_text_may_be_json_also_where_that_is_text(flow, project):
    flow("""
        from datetime import date
        @task
        def t(d: date, p: Path = Path("x")): return f"{d} {p}"
    """)
    done = project.flowkit("run", "m.py", "-q", "-P", 'd="2024-02-03"', "-P", 'p="a b"')
    assert done.exit_code == 0
    assert project.flowkit("cache", "get", "m.py::t").out.strip() == "2024-02-03 a b"


@pytest.mark.parametrize(
    ("written", "said"),
    [("1h30m", 5400.0), ("2m", 120.0), ("1.5s", 1.5), ("7d", 604800.0), ("2w", 1209600.0), ("3600", 3600.0), ("PT5M", 300.0),
     ("1:30:00", 5400.0), ('"1h30m"', 5400.0)],
)  # fmt: skip
@pytest.mark.parametrize("annotation", ["timedelta", "timedelta | None", "Annotated[Optional[timedelta], 'how long']"])
def test_a_duration_may_be_written_as_everywhere(flow, project, annotation, written, said):
    flow(f"""
        from datetime import timedelta
        @task
        def t(dur: {annotation} = None): return dur.total_seconds()
    """ if "None" in annotation or "Optional" in annotation else f"""
        from datetime import timedelta
        @task
        def t(dur: {annotation}): return dur.total_seconds()
    """)
    done = project.flowkit("run", "m.py", "-q", "-P", f"dur={written}")
    assert done.exit_code == 0, done
    assert project.flowkit("cache", "get", "m.py::t").out.strip() == str(said)


def test_a_duration_from_elsewhere_and_one_that_is_none(flow, project, monkeypatch):
    f = flow("""
        from datetime import timedelta
        @task
        def t(dur: timedelta): return dur.total_seconds()
    """)
    assert f.value("t", params={"dur": "1h"}) == 3600
    assert f.value("t", params={"dur": 90}) == 90
    project.write("p.json", '{"dur": "2m"}')
    assert f.value("t", params="p.json") == 120
    monkeypatch.setenv("FLOWKIT_PARAM_DUR", "1.5s")
    assert f.value("t") == 1.5
    for wrong in ("soon", "-1h", "1e999", "9999999999999d"):
        assert "does not fit" in f.refusal(params={"dur": wrong})


def test_a_duration_keeps_to_its_bounds(flow):
    f = flow("""
        from datetime import timedelta
        from pydantic import Field
        @task
        def t(dur: Annotated[timedelta, Field(gt=timedelta(minutes=1))]): return dur.total_seconds()
    """)
    assert f.value("t", params={"dur": "2m"}) == 120
    assert "greater than" in f.refusal(params={"dur": "10s"})


OWN = """
    from dataclasses import dataclass
    from enum import Enum
    from pydantic import BaseModel
    from flowkit import task

    class Size(Enum):
        SMALL = 1
        LARGE = 2

    @dataclass(frozen=True, slots=True)
    class Box:
        size: Size = Size.SMALL

    class Cfg(BaseModel):
        n: int = 2
        box: Box = Box()

    @task
    def f({arguments}):
        return {result}
"""


@pytest.mark.parametrize(
    ("annotation", "made", "result"),
    [
        ("Cfg", "Cfg(n=3, box=Box(Size.LARGE))", "x == Cfg(n=3, box=Box(Size.LARGE)) and x.box.size is Size.LARGE"),
        ("Box", "Box(Size.LARGE)", "x == Box(Size.LARGE)"),
        ("Size", "Size.LARGE", "x is Size.LARGE"),
        ("Cfg | None", "Cfg(n=3)", "x == Cfg(n=3)"),
        ("list[Cfg]", "[Cfg(n=3)]", "x == [Cfg(n=3)]"),
        ("dict[str, Box]", "{'a': Box(Size.LARGE)}", "x == {'a': Box(Size.LARGE)}"),
        ("tuple[int, Size]", "(1, Size.LARGE)", "x == (1, Size.LARGE)"),
    ],
)
def test_a_value_of_a_class_of_the_flow_is_taken_from_a_program_that_imported_it(project, monkeypatch, annotation, made, result):
    project.write("own.py", OWN.format(arguments=f"x: {annotation}", result=result))
    monkeypatch.syspath_prepend(project.root)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    own = importlib.import_module("own")
    given, same = (eval(made, vars(own)) for _ in range(2))
    for _ in range(2):
        assert project.run("own.py", params={"x": given})["f"] is True
    assert given == same


def test_a_script_may_give_its_own_classes_to_the_flow_that_it_is(project):
    script = OWN.format(arguments="x: Cfg, boxes: list[Box] = []", result="x.n")
    project.write("script.py", script + '\n    if __name__ == "__main__":\n        import flowkit\n\n        print(flowkit.run(__file__, params={"x": Cfg(n=7), "boxes": [Box(Size.LARGE)]})["f"])\n')
    done = subprocess.run([sys.executable, "script.py"], cwd=project.root, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("7\n", 0), done.stderr


def test_a_class_that_has_other_fields_by_now_is_another(project, monkeypatch):
    text = OWN.format(arguments="x: Cfg", result="x.n")
    project.write("own.py", text)
    monkeypatch.syspath_prepend(project.root)
    monkeypatch.delitem(sys.modules, "own", raising=False)
    own = importlib.import_module("own")
    project.write("own.py", text.replace("n: int = 2", "n: str"))
    with pytest.raises(FlowError, match="does not fit"):
        project.run("own.py", params={"x": own.Cfg(n=3)})
