"""``--strict``: tasks that change what they were given fail, and say which argument it was."""

import pytest

FLOW = """
    import threading

    from flowkit import Collected, Success, resource, skip, task

    @task
    def rows(): return [3, 1, 2]
    @task
    def lock(): return threading.Lock()
    @resource
    def bag(): return []
    @task(retries=2)
    def tidy(rows, lock, bag, n: list[int] = [1, 2]):
        bag.append(1)
        {change}
        return len(rows)
    @task
    def after(tidy): return tidy
"""


@pytest.fixture
def run(project):
    def run(change, flow=FLOW, **keywords):
        project.write("m.py", flow.replace("{change}", change))
        return project.run("m.py", executor="inline", **{"strict": True, **keywords})

    return run


def words(done):
    return {n.node: n.word for n in done.report.nodes}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rows.sort()", "`rows`"),
        ("n.append(3)", "`n`"),
        ("rows.sort(); n.append(3)", "`n`, `rows`"),
        ("rows.sort(); skip('nothing to do')", "`rows`"),
    ],
)
def test_a_task_that_changes_an_argument_fails_once_and_names_both(run, change, said):
    done = run(change)
    assert words(done) == {"rows": "ran", "lock": "ran", "tidy": "failed", "after": "upstream"}
    report = done.report.named("tidy")
    assert str(report.error) == f"`tidy` changed what it was given as {said}: let it change a copy"
    assert len(report.attempts) == 1


def test_a_task_that_changes_nothing_but_what_has_no_content_and_resources_is_fine(run):
    assert run("lock.acquire(); sorted(rows)").ok


def test_a_task_that_fails_by_itself_keeps_its_error(run):
    done = run("rows.append(1); raise ValueError('mine')")
    assert str(done.report.named("tidy").error) == "mine"


def test_nobody_looks_without_the_flag(run):
    assert run("rows.sort()", strict=False).ok


def test_what_a_task_that_fails_wrote_through_out_is_not_published(run, project):
    done = run("", flow="""
        from flowkit import task
        @task
        def rows(): return [3, 1, 2]
        @task
        def tidy(rows, out):
            rows.sort()
            out("x").write_text("x")
    """)
    assert words(done) == {"rows": "ran", "tidy": "failed"}
    assert not (project.root / "out").exists()


def test_elements_and_collections_are_looked_at_too(run):
    done = run("", flow="""
        from flowkit import Collected, Success, task
        @task
        def rows(): return [[2, 1], [4, 3]]
        @task(each={"row": "rows"})
        def first(row):
            if row[0] == 2: row.sort()
            return [row[0]]
        @task(each={"row": "rows"})
        def last(row): return [row[-1]]
        @task
        def total(last: Collected[list]): last[0].append(1)
        @task
        def whole(rows: Success[list]): rows.value.append(1)
    """)
    assert words(done) == {
        "rows": "ran", "first[0]": "failed", "first[1]": "ran", "last[0]": "ran", "last[1]": "ran", "total": "failed", "whole": "failed",
    }  # fmt: skip


def test_on_the_command_line_the_failure_names_task_and_argument(project):
    project.write("m.py", """
        from flowkit import task
        @task
        def rows(): return [3, 1, 2]
        @task
        def tidy(rows): rows.sort()
    """)
    done = project.flowkit("run", "m.py", "--strict")
    assert done.exit_code == 1
    assert "`tidy` changed what it was given as `rows`: let it change a copy" in done.out
    assert project.flowkit("run", "m.py").exit_code == 0


def test_an_argument_that_has_no_content_any_more_was_changed(project):
    project.write("m.py", """
        import threading
        from flowkit import task
        @task
        def rows(): return [1]
        @task
        def spoils(rows): rows.append(threading.Lock())
    """)
    run = project.run("m.py", strict=True)
    assert "changed what it was given as `rows`" in str(run.outcomes["spoils"].error)
