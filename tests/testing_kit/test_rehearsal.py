"""``--faults``: the same plans, rehearsed on the real executors."""

FLOW = """
from flowkit import task

@task(retries=2)
def get(): return 1

@task(timeout="0.2s")
def slow(get): return 2
"""


def test_failures_are_rehearsed_and_retried(project):
    project.write("m.py", FLOW)
    done = project.flowkit("run", "m.py", "--faults", "get@1-2=fail(ConnectionError)")
    assert done.exit_code == 0, done.out + done.err


def test_a_call_that_hangs_meets_its_timeout(project):
    project.write("m.py", FLOW)
    done = project.flowkit("run", "m.py", "--faults", "slow=hang")
    assert done.exit_code == 1
    assert "timeout" in done.out


def test_a_crash_ends_the_process_and_the_next_run_goes_on(project):
    project.write("m.py", FLOW)
    assert project.flowkit("run", "m.py", "--faults", "slow=crash(before_call)").exit_code == 70
    assert "2 ran" in project.flowkit("run", "m.py").out or "1 ran" in project.flowkit("run", "m.py").out


def test_what_only_the_simulator_can_do_is_refused(project):
    project.write("m.py", FLOW)
    done = project.flowkit("run", "m.py", "--faults", "*=store(put)")
    assert done.exit_code == 4
    assert "cannot be rehearsed" in done.err


def test_a_task_that_there_is_not_is_an_error(project):
    project.write("m.py", FLOW)
    done = project.flowkit("run", "m.py", "--faults", "slwo=hang")
    assert done.exit_code == 4
    assert "there is no task 'slwo'" in done.err
    assert "Did you mean 'slow'?" in done.err
