"""``--lf`` and ``--ff``: what failed the last time, by node, per flow."""

FLOW = """
    import os
    from flowkit import task, Collected

    def note(name):
        with open("ran.txt", "a") as file:
            file.write(name + "\\n")

    @task
    def other() -> int:
        note("other")
        return 1

    @task
    def items() -> list[str]:
        return ["a", "b", "c"]

    @task(each={"item": "items"}, cache=False)
    def load(item: str) -> str:
        note(f"load[{item}]")
        if item == "b" and not os.path.exists("fixed"):
            raise ValueError("bad b")
        return item

    @task(cache=False)
    def mean(load: str) -> str:
        note(f"mean[{load}]")
        return load

    @task(cache=False)
    def unrelated() -> int:
        note("unrelated")
        return 1
"""


def ran(project):
    file = project.root / "ran.txt"
    found = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return found


def test_only_the_elements_that_failed_run_and_what_hangs_off_them(project):
    project.write("m.py", FLOW)
    assert not project.run("m.py", executor="inline").ok
    ran(project)
    assert not project.run("m.py", lf=True, executor="inline").ok
    assert ran(project) == ["load[b]"]
    project.write("fixed")
    assert project.run("m.py", lf=True, executor="inline").ok
    assert ran(project) == ["load[b]", "mean[b]"]


def test_the_long_names_are_keywords_too(project):
    project.write("m.py", FLOW)
    assert not project.run("m.py", executor="inline").ok
    ran(project)
    assert not project.run("m.py", last_failed=True, executor="inline").ok
    assert ran(project) == ["load[b]"]
    assert not project.run("m.py", failed_first=True, executor="inline").ok
    assert ran(project)[-1] == "unrelated"


def test_without_a_last_failure_everything_runs(project):
    project.write("m.py", FLOW)
    project.write("fixed")
    assert project.run("m.py", lf=True, executor="inline").ok
    assert len(ran(project)) == 8
    ended = project.flowkit("run", "m.py", "--lf")
    assert "--lf: nothing of this failed the last time; everything runs" in ended.out


def test_runs_of_other_flows_and_of_other_tasks_do_not_forget_it(project):
    project.write("m.py", FLOW)
    project.write("n.py", "from flowkit import task\n@task\ndef t(): return 1\n")
    project.run("m.py", executor="inline")
    assert project.run("n.py").ok
    assert project.run("m.py::unrelated", executor="inline").ok
    ran(project)
    project.run("m.py", lf=True, executor="inline")
    assert ran(project) == ["load[b]"]


def test_an_element_that_is_gone_is_forgotten_by_a_whole_run(project):
    project.write("m.py", FLOW)
    project.run("m.py", executor="inline")
    project.write("m.py", FLOW.replace('"a", "b", "c"', '"a", "c"'))
    assert project.run("m.py", executor="inline").ok
    ran(project)
    assert project.run("m.py", executor="inline", lf=True).ok
    assert "unrelated" in ran(project)


def test_failed_first_runs_everything_the_failed_and_what_they_need_first(project):
    project.write("m.py", FLOW)
    project.run("m.py", executor="inline")
    ran(project)
    project.run("m.py", executor="inline", ff=True)
    order = ran(project)
    assert sorted(order) == ["load[a]", "load[b]", "load[c]", "mean[a]", "mean[c]", "unrelated"]
    assert order[-1] == "unrelated"


def test_what_failed_runs_though_an_older_result_is_there(project):
    project.write("m.py", """
        import os
        from flowkit import task

        @task
        def a() -> int:
            with open("ran.txt", "a") as file:
                file.write("a\\n")
            if os.path.exists("broken"):
                raise ValueError("broken")
            return 1

        @task
        def b(a) -> int:
            with open("ran.txt", "a") as file:
                file.write("b\\n")
            return a
    """)
    assert project.run("m.py", executor="inline").ok
    project.write("broken")
    assert not project.run("m.py", executor="inline", refresh=True).ok
    assert ran(project) == ["a", "b", "a"]
    (line, *_) = [line for line in project.flowkit("plan", "m.py", "--lf").out.splitlines() if "::a" in line or " a" in line]
    assert "failed the last time" in line
    assert not project.run("m.py", executor="inline", lf=True).ok
    assert ran(project) == ["a"]
    (project.root / "broken").unlink()
    run = project.run("m.py", executor="inline", lf=True)
    assert run.ok
    assert ran(project) == ["a"]  # to the same content, so what hangs off it is reused
    assert {n.node: n.reason for n in run.report.nodes}["a"] == "failed the last time"


def test_a_failure_that_a_fallback_stood_in_for_is_remembered(project):
    project.write("m.py", """
        from flowkit import task

        @task(fallback="other", cache=False)
        def risky() -> int:
            raise ValueError("boom")

        @task
        def other() -> int:
            return 5

        @task
        def unrelated() -> int:
            return 1
    """)
    project.run("m.py", executor="inline")
    assert {n.node for n in project.run("m.py", executor="inline", lf=True).report.nodes} == {"risky", "other"}


CHANGING = """
    import json
    from pathlib import Path
    from flowkit import task

    @task
    def src(p: Path = Path("s.json")) -> list[str]:
        return json.loads(p.read_text())

    @task(each={"s": "src"}, cache=False)
    def a(s: str) -> str:
        if s.startswith("bad"):
            raise ValueError(s)
        return s

    @task
    def b(a: str) -> str:
        return a

    @task(cache=False)
    def unrelated() -> int:
        return 1
"""


def words(run):
    return {n.node: n.word for n in run.report.nodes}


def test_where_no_element_that_failed_is_left_all_of_the_task_run(project):
    project.write("m.py", CHANGING)
    project.write("s.json", '["x", "bad"]')
    project.run("m.py", executor="inline")
    project.write("s.json", '["x", "good"]')
    planned = project.flowkit("plan", "m.py", "--lf").out
    assert "a[…]" in planned  # the list is not known yet
    project.run("m.py::src", executor="inline")
    assert "a[good]" in project.flowkit("plan", "m.py", "--lf").out
    run = project.run("m.py", executor="inline", lf=True)
    assert run.ok
    assert words(run) == {"src": "cached", "a[x]": "same", "a[good]": "ran", "b[x]": "cached", "b[good]": "ran"}
    # What is not there any more is forgotten, and all runs again.
    assert "unrelated" in words(project.run("m.py", executor="inline", lf=True))


def test_where_some_that_failed_are_left_those_run(project):
    project.write("m.py", CHANGING)
    project.write("s.json", '["x", "bad", "bad2"]')
    project.run("m.py", executor="inline")
    project.write("s.json", '["x", "good", "bad2"]')
    run = project.run("m.py", executor="inline", lf=True)
    assert words(run) == {"src": "ran", "a[bad2]": "failed", "b[bad2]": "upstream"}


def test_a_follower_that_failed_does_not_narrow_what_hangs_off_all(project):
    project.write("m.py", CHANGING.replace("return a\n", "return a if a != 'y' else 1 / 0\n"))
    project.write("s.json", '["x", "y", "bad"]')
    project.run("m.py", executor="inline")
    project.write("s.json", '["x", "y", "good"]')
    run = project.run("m.py", executor="inline", lf=True)
    assert words(run) == {
        "src": "ran", "a[x]": "same", "a[y]": "same", "a[good]": "ran",
        "b[x]": "cached", "b[y]": "failed", "b[good]": "ran",
    }  # fmt: skip


def test_elements_of_several_axes_that_are_gone_are_forgotten(project):
    project.write("m.py", CHANGING.replace('each={"s": "src"}', 'each={"s": "src", "n": [1, 2]}').replace("a(s: str", "a(s: str, n: int"))
    project.write("s.json", '["x", "bad"]')
    project.run("m.py", executor="inline")
    project.write("s.json", '["x", "good"]')
    assert project.flowkit("run", "m.py", "--lf").exit_code == 5
    run = project.run("m.py", executor="inline", lf=True)
    assert run.ok
    assert {"a[good-1]", "unrelated"} <= words(run).keys()
