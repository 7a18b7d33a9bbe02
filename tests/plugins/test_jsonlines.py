"""``--json``: every line is an event, the last one is the summary, and people read on elsewhere."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import flowkit

PAGE = Path(flowkit.__file__).parent.parent / "docs/reference/events.md"

FLOW = """
    import os, sys
    from flowkit import resource, task
    from flowkit_plugins.retry import Retry
    from pydantic import SecretStr

    print("imported")
    tried = []

    @resource
    def box():
        yield 1
        raise OSError("will not close")

    @task(retries=Retry(times=1))
    def flaky(box, token: SecretStr = SecretStr("hunter2!")) -> int:
        print("token", token.get_secret_value())
        os.system("echo from a child")
        tried.append(1)
        if len(tried) < 2: raise ConnectionError("not yet " + token.get_secret_value())
        return 1

    @task
    def wrong(flaky: int, token: SecretStr = SecretStr("hunter2!")):
        print("about to fail")
        raise ValueError("no " + token.get_secret_value())

    @task
    def after(wrong): ...
"""


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_an_event_and_the_report_goes_to_standard_error(project):
    project.write("m.py", FLOW)
    ended = project.flowkit("run", "m.py", "--json", "-s", "-P", "token=hunter2!")
    found = events(ended.out)
    assert [e["event"] for e in found] == [
        "run_started", "attempt_started", "attempt_ended", "attempt_started", "node_ended", "attempt_started",
        "node_ended", "node_ended", "teardown_error", "summary",
    ]  # fmt: skip
    assert ended.exit_code == found[-1]["exit_code"] == 1
    assert found[-1]["counts"] == {"ran": 1, "failed": 1, "upstream": 1, "error": 1}
    for line in ("imported", "from a child", "1 ran, 1 failed, 1 error, 1 upstream"):
        assert line in ended.err
    assert "hunter2" not in ended.out
    assert found[0]["params"] == {"token": "**********"}
    assert found[0]["command"].endswith("-P token=**********'") or "token=**********" in found[0]["command"]


def test_the_reference_has_all_events_and_keys(project):
    """``docs/reference/events.md`` is the schema: exactly these keys, in every event."""
    project.write("m.py", FLOW)
    found = events(project.flowkit("run", "m.py", "--json").out)
    parts = re.split(r"^## `?(.+?)`?$", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    shown = {name: re.findall(r"^\| `(\w+)`", text, re.M) for name, text in zip(parts[::2], parts[1::2], strict=True)}
    common = shown.pop("All events")
    assert set(shown) == {e["event"] for e in found}
    for event in found:
        assert set(event) == {*common, *shown[event["event"]]}, event["event"]


def test_an_event_tells_what_happened(project):
    project.write("m.py", FLOW)
    found = events(project.flowkit("run", "m.py", "--json").out)
    retry = next(e for e in found if e["event"] == "attempt_ended")
    assert (retry["node"], retry["attempt"], retry["kind"]) == ("m.py::flaky", 1, "error")
    assert retry["error"]["type"] == "ConnectionError"
    assert retry["again"]
    failed = next(e for e in found if e["event"] == "node_ended" and e["word"] == "failed")
    assert failed["error"]["message"] == "no **********"
    assert "in wrong" in failed["error"]["traceback"]
    assert failed["output"] == [{"title": "Captured stdout", "text": "about to fail"}]
    assert [e["at"] for e in found] == sorted(e["at"] for e in found)
    again = events(project.flowkit("run", "m.py::flaky", "--json").out)
    cached = next(e for e in again if e["event"] == "node_ended")
    assert (cached["word"], cached["attempts"], cached["error"]) == ("cached", 0, None)


def test_a_reader_who_leaves_does_not_fail_the_run(project):
    project.write(
        "m.py",
        "from flowkit import task\n@task\ndef ids() -> list[int]: return list(range(3000))\n"
        "@task(each={'i': 'ids'})\ndef a(i: int): return i\n@task\ndef last(needs=None): open('done', 'w')",
    )
    code = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-m', 'flowkit', 'run', 'm.py', '--json', '-q'], stdout=subprocess.PIPE); p.stdout.readline(); p.stdout.close(); sys.exit(p.wait())"
    ended = subprocess.run([sys.executable, "-c", code], cwd=project.root, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert "3002 ran" in ended.stderr


def test_events_come_while_the_run_goes_on_and_ctrl_c_has_a_summary(project):
    project.write("m.py", "import time\nfrom flowkit import task\n@task\ndef a(): time.sleep(60)")
    command = [sys.executable, "-m", "flowkit", "run", "m.py", "--json"]
    with subprocess.Popen(command, cwd=project.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        watch = threading.Timer(30, running.kill)
        watch.start()
        assert json.loads(running.stdout.readline())["event"] == "run_started"
        assert json.loads(running.stdout.readline())["event"] == "attempt_started"
        running.send_signal(signal.SIGINT)
        rest = events(running.stdout.read())
        assert running.wait() == 2
        watch.cancel()
    assert (rest[-1]["event"], rest[-1]["status"], rest[-1]["exit_code"]) == ("summary", "interrupted", 2)


def test_a_plugin_that_raises_leaves_a_summary(project):
    project.write("flowconf.py", "from flowkit import hookimpl\n@hookimpl\ndef flowkit_node_ended(report): 1 / 0")
    project.write("m.py", "from flowkit import task\n@task\ndef a(): ...")
    ended = project.flowkit("run", "m.py", "--json")
    last = events(ended.out)[-1]
    assert (last["event"], last["status"], last["exit_code"]) == ("summary", "crashed", ended.exit_code)


def test_a_flow_that_is_wrong_has_no_events(project):
    project.write("m.py", "print('hello')\nfrom flowkit import task\n@task(retry=1)\ndef a(): ...")
    ended = project.flowkit("run", "m.py", "--json")
    assert (ended.exit_code, ended.out) == (4, "")
    assert "unknown option 'retry'" in ended.err


def test_a_plan_has_its_own_lines(project):
    project.write("m.py", "from flowkit import task\n@task\ndef a(): ...")
    for words in (("plan", "m.py", "--json"), ("run", "m.py", "--plan", "--json")):
        (line,) = events(project.flowkit(*words).out)
        assert line["node"] == "m.py::a"


def test_from_python_lines_go_to_standard_output(project, capsys):
    project.write("m.py", "from flowkit import task\n@task\ndef a(): print('captured')")
    threads = threading.active_count()
    project.run("m.py", json=True)
    assert [e["event"] for e in events(capsys.readouterr().out)][-1] == "summary"
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() <= threads
    print("still here")
    assert capsys.readouterr().out == "still here\n"
