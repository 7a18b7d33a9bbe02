"""Each hook, once, through a plugin of a few lines in a real run.

What the built-in plugins do with a hook is tested with them; here it is that a stranger's plugin
is called, when, with what, and that its answer counts. A hook without a test here fails
``tests/test_reference.py``.
"""

import re
import sys
import textwrap
import types

import click
import pytest

import flowkit
from flowkit import hookimpl
from flowkit.cli import main
from flowkit.errors import PluginError, ResolutionError
from flowkit.executors.inline import InlineExecutor
from flowkit.hookspecs import Again, Flag, Kept, Known, Option, Section, Stale
from flowkit.values import Handle

FLOW = """
    from flowkit import task

    @task
    def one(n: int = 1) -> int:
        return n

    @task
    def two(one: int) -> int:
        return one * 2
"""


@pytest.fixture
def plugin(monkeypatch):
    """Make functions, named like hooks, the plugin ``probe``, to be loaded with ``-p probe``."""

    def make(*hooks):
        module = types.ModuleType("probe", "A probe.")
        for hook in hooks:
            marked = hook if hasattr(hook, "flowkit_impl") else hookimpl(hook)
            setattr(module, hook.__name__, marked)
        monkeypatch.setitem(sys.modules, "probe", module)

    return make


@pytest.fixture
def run(project, plugin):
    """Run a flow with a plugin made of functions."""

    def run(*hooks, flow=FLOW, target="m.py", p=("probe",), **keywords):
        plugin(*hooks)
        project.write("m.py", textwrap.dedent(flow))
        keywords.setdefault("executor", "inline")
        if "no:cache" not in p:
            keywords.setdefault("no_cache", True)
        return flowkit.run(target, p=list(p), **keywords)

    return run


@pytest.fixture
def command(project, plugin, capsys):
    """Run the command line with a plugin; return what it printed."""

    def command(*words, hooks=(), flow=FLOW, load=("-p", "probe"), exit_code=0):
        plugin(*hooks)
        project.write("m.py", textwrap.dedent(flow))
        with pytest.raises(SystemExit) as ended:
            main([*words, *([] if "-p" in words else load)])
        printed = capsys.readouterr()
        assert ended.value.code == exit_code, printed
        return printed.out + printed.err

    return command


def words(done):
    return {n.node: n.word for n in done.report.nodes}


def test_hook_flowkit_task_options(run):
    """A declared option is known, converted, and in the task's options."""
    seen = []

    def flowkit_task_options():
        return [Option(name="owner", type="a name", help="Who.", convert=str.upper)]

    def flowkit_task_collected(task):
        seen.append(task.options["owner"])

    flow = "from flowkit import task\n@task(owner='ana')\ndef one(): return 1"
    assert run(flowkit_task_options, flowkit_task_collected, flow=flow).ok
    assert seen == ["ANA"]


def test_hook_flowkit_flow_options(run):
    """Likewise for ``Flow``."""
    seen = []

    def flowkit_flow_options():
        return [Option(name="room", type="a number", help="Where.", convert=int)]

    def flowkit_flow_collected(flow):
        seen.append(flow.options["room"])

    flow = "from flowkit import Flow, task\nflow = Flow(room='7')\n@task\ndef one(): return 1"
    assert run(flowkit_flow_options, flowkit_flow_collected, flow=flow).ok
    assert seen == [7]


def test_hook_flowkit_run_options(command):
    """A flag is in the help of ``flowkit run``, and a keyword of ``flowkit.run``."""

    def flowkit_run_options():
        return [Flag(name="--loud", type=bool, default=False, help="Be loud.")]

    assert "Be loud." in command("run", "--help", hooks=[flowkit_run_options])
    assert flowkit.run("m.py", p=["probe"], loud=True).ok
    with pytest.raises(flowkit.FlowError, match="unknown keyword 'loud'"):
        flowkit.run("m.py", loud=True)


def test_hook_flowkit_settings(project, run):
    """A setting is read from the file, converted, and an unknown one is refused."""
    seen = []

    def flowkit_settings():
        return [Option(name="probe.depth", type="a number", help="How deep.", default=1, convert=int)]

    def flowkit_configure(session):
        seen.append(session.settings["probe.depth"])

    run(flowkit_settings, flowkit_configure)
    project.write("flowkit.toml", "[probe]\ndepth = 3\n")
    run(flowkit_settings, flowkit_configure)
    assert seen == [1, 3]
    with pytest.raises(flowkit.FlowError, match=r"unknown setting 'probe.depth'"):
        run()


def test_hook_flowkit_commands(command):
    """A click command is one of flowkit's."""

    def flowkit_commands():
        return [click.Command("hello", callback=lambda: click.echo("hello, you"))]

    assert command("-p", "probe", "hello", hooks=[flowkit_commands]) == "hello, you\n"


def test_plugins_that_the_settings_name_bring_commands_and_flags(project, command):
    """As those of ``-p`` do, before or behind the command."""

    def flowkit_commands():
        return [click.Command("hello", callback=lambda: click.echo("hello, you"))]

    def flowkit_run_options():
        return [Flag(name="--loud", type=bool, default=False, help="Be loud.")]

    hooks = [flowkit_commands, flowkit_run_options]
    assert "2 ran" in command("-p", "probe", "run", "m.py", "--loud", "--no-cache", hooks=hooks)
    project.write("flowkit.toml", 'plugins = ["probe"]\n')
    assert command("hello", hooks=hooks, load=[]) == "hello, you\n"
    assert "2 ran" in command("run", "m.py", "--loud", "--no-cache", hooks=hooks, load=[])


def test_hook_flowkit_configure(run):
    """Called once, with settings and flags read."""
    seen = []

    def flowkit_configure(session):
        seen.append((session.root.name, session.flags["maxfail"]))

    run(flowkit_configure, maxfail=3)
    assert len(seen) == 1
    assert seen[0][1] == 3


def test_hook_flowkit_imported(run):
    """Told of the flow's module once it was executed."""
    seen = []

    def flowkit_imported(modules):
        seen.extend(m.__file__.rpartition("/")[2] for m in modules)

    run(flowkit_imported)
    assert seen == ["m.py"]


def test_hook_flowkit_inputs(run):
    """A value is there for the asking."""

    def flowkit_inputs(session):
        return {"answer": 42}

    flow = "from flowkit import task\n@task\ndef one(answer: int): return answer"
    assert run(flowkit_inputs, flow=flow)["one"] == 42


def test_hook_flowkit_flow_collected(run):
    """Called once per flow, and may set its deadline."""
    seen = []

    def flowkit_flow_collected(flow):
        seen.append(flow.name)
        flow.deadline = 60.0

    assert run(flowkit_flow_collected).ok
    assert seen == ["m"]


def test_hook_flowkit_task_collected(run):
    """Called once per task in definition order; the deadline it sets holds."""
    seen = []

    def flowkit_task_collected(task):
        seen.append(task.name)
        task.deadline = 0.05

    flow = """
        import time
        from flowkit import task

        @task
        def slow():
            for _ in range(1000):
                time.sleep(0.01)

        @task
        def b(): pass
    """
    assert words(run(flowkit_task_collected, flow=flow))["slow"] == "timeout"
    assert seen == ["slow", "b"]


def test_hook_flowkit_collected(run):
    """What it returns is wrong with the flow, and nothing runs."""

    def flowkit_collected(graph):
        return [ResolutionError(f"{len(graph.tasks)} tasks are too many", remedy="Write fewer.")]

    with pytest.raises(flowkit.FlowError, match="2 tasks are too many"):
        run(flowkit_collected)


def test_hook_flowkit_capacity(run):
    """A limit that tasks demand bounds how many run at once."""

    def flowkit_task_collected(task):
        task.demands["printer"] = 1

    def flowkit_capacity(graph):
        return {"printer": 1}

    flow = """
        import threading
        from flowkit import task
        at_once, most = [], []

        @task(each={"i": [1, 2, 3, 4]})
        def page(i):
            at_once.append(i)
            most.append(len(at_once))
            threading.Event().wait(0.01)
            at_once.remove(i)
            return max(most)
    """
    assert set(run(flowkit_task_collected, flowkit_capacity, flow=flow, executor="threads", n=4)["page"]) == {1}


def test_hook_flowkit_select(run):
    """It may narrow what the run is for."""

    def flowkit_select(graph, selection):
        selection.targets = [t for t in selection.targets if t.name == "one"]
        return selection

    assert words(run(flowkit_select)) == {"one": "ran"}


def test_hook_flowkit_parameters(run):
    """Its values hold unless somebody gives others."""

    def flowkit_parameters(session, sources):
        return {"n": 5}

    assert run(flowkit_parameters)["two"] == 10
    assert run(flowkit_parameters, params={"n": 7})["two"] == 14


def test_hook_flowkit_executor(run):
    """A plugin brings an executor by name."""
    asked = []

    def flowkit_executor(name, slots):
        asked.append((name, slots))
        return InlineExecutor() if name == "here" else None

    assert run(flowkit_executor, executor="here", n=2)["two"] == 2
    assert asked == [("here", 2)]
    assert run(flowkit_executor, executor="inline", n=2).ok, "None passes the question on"


def test_hook_flowkit_header(command):
    """Its lines are in the head of the report."""

    def flowkit_header(session):
        return [f"probe: {len(session.targets)} target"]

    assert "probe: 1 target" in command("run", "m.py", hooks=[flowkit_header])


def test_hook_flowkit_plan_started(command):
    """Told of a plan, and not of a run."""
    seen = []

    def flowkit_plan_started(run):
        seen.append(run.flow)

    def flowkit_run_started(run):
        seen.append("ran")

    command("plan", "m.py", hooks=[flowkit_plan_started, flowkit_run_started])
    assert seen == ["m"]


def test_hook_flowkit_run_started(run):
    """Told before anything is called."""
    seen = []

    def flowkit_run_started(run):
        seen.append((run.flow, dict(run.params)))

    def flowkit_attempt_started(attempt):
        seen.append(attempt.node)

    run(flowkit_run_started, flowkit_attempt_started)
    assert seen == [("m", {"n": 1}), "one", "two"]


def test_hook_flowkit_nodes_known(run):
    """What is known at once is not looked up; what hangs off something else is, whatever was said of it."""
    asked = []

    def flowkit_nodes_known(nodes, inputs):
        asked.append([node.id for node in nodes])
        return {node: Known(value=Handle(lambda: 20), reason="guessed") for node in nodes if node.id == "one"}

    def flowkit_node_lookup(node, inputs):
        asked.append(node.id)

    done = run(flowkit_nodes_known, flowkit_node_lookup, p=["probe", "no:cache"])
    assert asked == [["one", "two"], "two"]
    assert [(n.node, n.word, n.reason) for n in done.report.nodes] == [("one", "cached", "guessed"), ("two", "ran", "")]
    assert done["two"] == 40


def test_of_two_plugins_that_answer_look_ups_none_is_asked_at_once(run):
    asked = []

    def flowkit_nodes_known(nodes, inputs):
        asked.append(nodes)

    @hookimpl(tryfirst=True)
    def flowkit_node_lookup(node, inputs):
        asked.append(node.id)

    run(flowkit_nodes_known, flowkit_node_lookup, no_cache=False)
    assert asked == ["one", "two"]


def test_hook_flowkit_node_lookup(run):
    """``Known`` spares the call; ``Stale`` gives its reason."""

    def flowkit_node_lookup(node, inputs):
        if node.id == "one":
            return Known(value=Handle(lambda: 20), reason="guessed", saved=1.0)
        return Stale(reason="because")

    done = run(flowkit_node_lookup)
    assert [(n.node, n.word, n.reason) for n in done.report.nodes] == [
        ("one", "cached", "guessed"),
        ("two", "ran", "because"),
    ]
    assert done["two"] == 40


def test_hook_flowkit_node_must_run(command):
    """Asked in a plan of what cannot be looked up, since it hangs off what runs."""

    def flowkit_node_must_run(node):
        return f"{node.id} always does"

    printed = command("plan", "m.py", hooks=[flowkit_node_must_run])
    assert re.findall("^>.*", printed, re.M) == [">  one  no record", ">  two  two always does"]


def test_hook_flowkit_attempt_started(run):
    """Called for each attempt, with what it will be called with."""
    seen = []

    def flowkit_attempt_started(attempt):
        seen.append((attempt.node, attempt.number, dict(attempt.arguments)))

    run(flowkit_attempt_started)
    assert seen == [("one", 1, {"n": 1}), ("two", 1, {"one": 1})]


@pytest.mark.parametrize("executor", ["inline", "threads"])
@pytest.mark.parametrize(
    ("hook", "when"), [("attempt_started", "two"), ("attempt_started", "one"), ("attempt_ended", "one"), ("node_ended", "one")]
)
def test_a_hook_that_raises_ends_the_run_whatever_was_about_to_start(run, executor, hook, when):
    """Attempts that were to be called at that moment never are, and nobody waits for them."""
    flow = "from flowkit import task\n@task\ndef one(): pass\n" + "".join(
        f"@task\ndef {name}(one): pass\n" for name in ("zero", "two", "three")
    )

    def called(subject):
        if subject.node == when:
            raise RuntimeError("oh")

    def flowkit_attempt_started(attempt):
        called(attempt)

    def flowkit_attempt_ended(attempt):
        called(attempt)

    def flowkit_node_ended(report):
        called(report)

    with pytest.raises(PluginError, match=f"flowkit_{hook}"):
        run(locals()[f"flowkit_{hook}"], flow=flow, executor=executor)


def test_hook_flowkit_attempt_call(run):
    """A wrapper is around the call, and may look at what it gave."""
    seen = []

    @hookimpl(wrapper=True)
    def flowkit_attempt_call(attempt):
        seen.append(f"before {attempt.node}")
        yield
        seen.append(f"after {attempt.node}: {attempt.kind} {attempt.value}")

    run(flowkit_attempt_call)
    assert seen == ["before one", "after one: success 1", "before two", "after two: success 2"]


def test_hook_flowkit_attempt_begins(run):
    """What it raises is taken for what the task raised."""

    def flowkit_attempt_begins(attempt):
        if attempt.task.name == "two":
            raise OSError("rehearsed")

    done = run(flowkit_attempt_begins)
    assert words(done) == {"one": "ran", "two": "failed"}
    assert isinstance(done.outcomes["two"].error, OSError)


def test_hook_flowkit_attempt_keep(run):
    """What it says of a value is in the report."""

    def flowkit_attempt_keep(attempt):
        return Kept(same=attempt.node == "one", note="too dear" if attempt.node == "two" else "")

    done = run(flowkit_attempt_keep)
    assert words(done) == {"one": "same", "two": "ran"}
    assert done.report.notes == ["`two` is not persisted: too dear"]


def test_hook_flowkit_attempt_failed(run):
    """``Again`` has the node called once more; silence lets the failure stand."""

    def flowkit_attempt_failed(attempt):
        return Again(not_before=attempt.ended_at, reason="once more") if attempt.number == 1 else None

    flow = "from flowkit import task\n@task\ndef one(): raise OSError"
    (node,) = run(flowkit_attempt_failed, flow=flow).report.nodes
    assert [a.again for a in node.attempts] == ["once more", ""]
    assert node.word == "failed"


def test_hook_flowkit_attempt_ended(run):
    """Told of every end, with how it ended."""
    seen = []

    def flowkit_attempt_ended(attempt):
        seen.append((attempt.node, attempt.kind))

    flow = "from flowkit import skip, task\n@task\ndef one(): skip('no')\n@task\ndef b(): raise OSError"
    run(flowkit_attempt_ended, flow=flow)
    assert seen == [("one", "skip"), ("b", "error")]


def test_hook_flowkit_node_ended(run):
    """Told of every node, also of one that was not called."""
    seen = []

    def flowkit_node_ended(report):
        seen.append((report.node, report.word))

    flow = "from flowkit import task\n@task\ndef one(): raise OSError\n@task\ndef two(one): pass"
    run(flowkit_node_ended, flow=flow)
    assert seen == [("one", "failed"), ("two", "upstream")]


def test_hook_flowkit_run_ended(run):
    """Told once, with the whole report."""
    seen = []

    def flowkit_run_ended(report):
        seen.append((report.counts, report.exit_code))

    run(flowkit_run_ended)
    assert seen == [({"ran": 2}, 0)]


def test_hook_flowkit_report_sections(command):
    """A section is printed at the end."""

    def flowkit_report_sections(report):
        return [Section("probe says", [f"{len(report.nodes)} nodes"])]

    printed = command("run", "m.py", hooks=[flowkit_report_sections])
    assert "probe says" in printed
    assert "2 nodes" in printed


def test_hook_flowkit_unconfigure(run):
    """Called once, also where a flow is wrong."""
    seen = []

    def flowkit_unconfigure(session):
        seen.append(session.root.is_dir())

    run(flowkit_unconfigure)
    with pytest.raises(flowkit.FlowError):
        run(flowkit_unconfigure, flow="from flowkit import task\n@task\ndef a(b): pass")
    assert seen == [True, True]


def test_hook_flowkit_digest(project, plugin):
    """Values of an unknown type are told apart by what it returns."""
    asked = []

    def flowkit_digest(value):
        if type(value).__name__ == "Opaque":
            asked.append(value)
            return "opaque"
        return None

    plugin(flowkit_digest)
    project.write(
        "m.py",
        """
        import threading
        from flowkit import task

        class Opaque:
            def __init__(self):
                self.lock = threading.Lock()
            def __reduce__(self):
                return (Opaque, ())

        @task
        def one(n: int = 1) -> Opaque:
            return Opaque()

        @task
        def two(one: Opaque) -> int:
            return 1
        """,
    )
    flowkit.run("m.py", p=["probe"], executor="inline")
    again = flowkit.run("m.py", p=["probe"], executor="inline", params={"n": 2})
    assert asked
    assert words(again) == {"one": "same", "two": "cached"}


def test_a_hook_in_flowconf_that_raises_is_told_with_its_line_and_what_helps(project):
    project.write("flowconf.py", """
from flowkit import hookimpl
def below(): raise RuntimeError("hook boom")
@hookimpl
def flowkit_node_ended(report):
    below()
""")
    project.write("m.py", "from flowkit import task\n@task\ndef t(): return 1\n")
    ended = project.flowkit("run", "m.py")
    assert ended.exit_code == 3
    assert "plugin 'flowconf.py' failed in flowkit_node_ended: RuntimeError: hook boom" in ended.err
    assert "Mend the hook, or take it out: flowconf.py:3." in ended.err
    assert "-p no:" not in ended.err


def test_a_hook_in_flowconf_counts_from_when_the_flow_is_read(project):
    """A ``flowconf.py`` comes too late for what happens before flows are read."""
    project.write(
        "flowconf.py",
        """
        from flowkit import hookimpl
        from flowkit.hookspecs import Option
        seen = []

        @hookimpl
        def flowkit_task_options():
            return [Option(name="owner", type="a name", help="Who.")]

        @hookimpl
        def flowkit_node_ended(report):
            with open("seen", "a") as file:
                file.write(report.word)
        """,
    )
    project.write("m.py", "from flowkit import task\n@task(owner='ana')\ndef one(): return 1\n")
    assert flowkit.run("m.py").ok
    assert project.read("seen") == "ran"


def test_a_hook_that_would_have_to_be_awaited_is_refused(project):
    project.write("flowconf.py", """
        from flowkit import hookimpl

        @hookimpl
        async def flowkit_run_started(run): pass
    """)
    project.write("m.py", "from flowkit import task\n@task\ndef a(): return 1\n")
    with pytest.raises(flowkit.FlowError, match="flowconf.py.*: flowkit_run_started is an async def") as caught:
        project.run("m.py")
    assert len(caught.value.errors) == 1
