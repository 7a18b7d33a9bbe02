"""``--junitxml``: what a CI server makes of a run is what its exit code says."""

from xml.etree import ElementTree

import pytest

from flowkit.errors import FlowError

FLOW = """
    import sys
    from flowkit import Collected, resource, skip, task
    from flowkit_plugins.retry import Retry
    from pydantic import SecretStr

    tried = []

    @task
    def cities() -> list[str]: return ["a", "b", "c"]

    @task(each={"city": "cities"}, retries=Retry(times=1))
    def fetch(city: str, token: SecretStr = SecretStr("hunter2!")) -> str:
        print("out", token.get_secret_value())
        print("err \\x1b[31mred\\x00", file=sys.stderr)
        if city == "b": raise ValueError("bad \\x07 <b> " + token.get_secret_value())
        if city == "c": skip("no c")
        return city

    @task
    def report(fetch: Collected[str]): ...

    @task(allow_failure=True)
    def advert(): raise LookupError("none today")

    @task(fallback="backup")
    def rates(): raise OSError("closed")

    @task
    def backup(): return 1

    @task(timeout="50ms")
    def late():
        import time
        time.sleep(0.3)

    @resource
    def database(): raise OSError("refused")

    @task
    def rows(database): ...
"""


def read(project, name="j.xml"):
    return ElementTree.fromstring(project.read(name))


def cases(root):
    return {case.get("name"): case for case in root.iter("testcase")}


def verdict(case):
    return [child.tag for child in case if child.tag in ("failure", "error", "skipped")]


@pytest.fixture
def written(project):
    project.write("m.py", FLOW)
    run = project.run("m.py", junitxml="j.xml")
    return run, read(project)


def test_each_node_is_a_test_case_with_its_verdict(written):
    found = {name: verdict(case) for name, case in cases(written[1]).items()}
    assert found == {
        "cities": [], "fetch[a]": [], "fetch[b]": ["failure"], "fetch[c]": ["skipped"], "report": ["skipped"],
        "advert": ["skipped"], "rates": ["skipped"], "backup": [], "late": ["failure"], "rows": ["error"],
    }  # fmt: skip
    assert all(case.get("classname") == "m.py" for case in cases(written[1]).values())


def test_the_counts_are_those_of_the_cases(written):
    for element in (written[1], *written[1].iter("testsuite")):
        inside = list(element.iter("testcase"))
        assert int(element.get("tests")) == len(inside) == 10
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(element.get(name)) == sum(tag in verdict(case) for case in inside)


def test_elements_stand_in_the_order_that_the_schema_wants(written):
    """As in the XSD of Jenkins: verdict, system-out, system-err; properties before test cases."""
    order = ["failure", "error", "skipped", "system-out", "system-err"]
    for case in cases(written[1]).values():
        places = [order.index(child.tag) for child in case]
        assert places == sorted(set(places))
        assert set(case.attrib) == {"classname", "name", "time"}
    suite = written[1].find("testsuite")
    assert [child.tag for child in suite] == ["properties"] + ["testcase"] * 10


def test_a_failure_that_is_allowed_is_skipped_and_says_what_it_was(written):
    found = cases(written[1])
    assert found["advert"].find("skipped").get("message") == "allowed to fail: LookupError: none today"
    assert found["rates"].find("skipped").get("message") == "`backup` stands in: OSError: closed"
    assert found["rows"].find("error").get("type") == "OSError"


def test_output_and_earlier_attempts_are_in_the_file(written):
    out = cases(written[1])["fetch[b]"].find("system-out").text
    assert "--- attempt 1, ValueError: bad" in out
    assert "--- attempt 2" in out
    assert "err red#x00" in cases(written[1])["fetch[a]"].find("system-err").text


def test_what_xml_cannot_hold_is_spelled_out_and_secrets_are_masked(written, project):
    text = project.read("j.xml")
    assert "bad #x07 &lt;b&gt; **********" in text
    assert "hunter2" not in text
    properties = {p.get("name"): p.get("value") for p in written[1].iter("property")}
    assert properties["run"] == written[0].id
    assert properties["param.token"] == "**********"


def test_a_run_that_is_well_has_no_failure_and_reused_nodes_pass(project):
    project.write("m.py", "from flowkit import task\n@task\ndef a(): return 1\n@task(allow_failure=True)\ndef b(): 1 / 0")
    for word in ("ran", "cached"):
        run = project.run("m.py", junitxml="deep/j.xml")
        assert run.ok
        assert run.report.named("a").word == word
        root = read(project, "deep/j.xml")
        assert (root.get("failures"), root.get("errors")) == ("0", "0")


def test_a_teardown_that_raises_and_a_flow_that_takes_too_long_are_errors(project):
    project.write(
        "m.py",
        """
        from flowkit import resource, task
        @resource
        def box():
            yield 1
            raise OSError("will not close")
        @task
        def a(box): ...
        """,
    )
    assert project.run("m.py", junitxml="j.xml").exit_code == 1
    case = cases(read(project))["teardown of box"]
    assert case.find("error").get("message") == "OSError: will not close"
    project.write(
        "n.py",
        "import time\nfrom flowkit import Flow, task\nflow = Flow(timeout='0.1s')\n@task\ndef a(): time.sleep(0.5)\n@task\ndef b(a): ...",
    )
    run = project.run("n.py", junitxml="n.xml")
    assert run.exit_code == 1
    assert int(read(project, "n.xml").get("errors")) + int(read(project, "n.xml").get("failures")) >= 1


def test_a_file_that_cannot_be_written_is_refused_before_anything_runs(project):
    project.write("m.py", "from flowkit import task\n@task\ndef a(): open('ran', 'w')")
    project.write("file", "x")
    (project.root / "folder").mkdir()
    for place in ("folder", "file/j.xml"):
        with pytest.raises(FlowError, match="--junitxml"):
            project.run("m.py", junitxml=place)
    assert not (project.root / "ran").exists()


def test_a_file_that_can_no_longer_be_written_is_a_note(project):
    project.write("m.py", "import os\nfrom flowkit import task\n@task\ndef a(): os.mkdir('j.xml')")
    run = project.run("m.py", junitxml="j.xml")
    assert run.ok
    assert [note for note in run.report.notes if note.startswith("--junitxml:")]
    assert not list(project.root.glob(".j.xml*"))
