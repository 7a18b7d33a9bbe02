"""What tasks may ask for: the run, a logger, a folder, a place for results, and chance."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
from collections import OrderedDict, defaultdict, namedtuple
from dataclasses import dataclass
from pathlib import Path

import pydantic
import pytest
from plugin_attempts import NOON, a_run, a_session, a_task, an_attempt, inside

from flowkit.annotations import cannot_fit
from flowkit.errors import ResourceError
from flowkit.graph import BoundFlow, BoundResource
from flowkit.outcomes import Failure, Success
from flowkit.binding import given_type
from flowkit.values import Collected
from flowkit_plugins import essentials
from flowkit_plugins.essentials import Out, RunContext, folder_name

HERE = Path(__file__).parent
RESOURCES = {
    "run": RunContext,
    "log": logging.Logger,
    "tmp_path": Path,
    "out": Out,
    "rng": random.Random,
}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "project"


@pytest.fixture
def call(root):
    """Run ``body`` (it gets ``out``) as an attempt of a node, and return the attempt."""
    ((wrapper, plugin),) = a_session(essentials).plugins.wrappers("flowkit_attempt_call")
    assert plugin == "essentials"

    def call(body, *, kind="success", element="", task=None):
        attempt = an_attempt(task or a_task("clean"), element=element, run=a_run(root=root))
        generator = wrapper(attempt)
        next(generator)
        with inside(attempt):
            attempt.value = body(essentials.out())
        attempt.kind = kind
        assert next(generator, "done") == "done"
        return attempt

    return call


def files(folder):
    """Relative path → text of every file below ``folder``; empty folders are named with None."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[path.relative_to(folder).as_posix()] = path.read_text()
        elif not any(path.iterdir()):
            found[path.relative_to(folder).as_posix()] = None
    return found


def written(out, name, text="x"):
    path = out(name)
    path.write_text(text)
    return path


# --- as resources -----------------------------------------------------------------------------


def test_each_is_a_resource_of_the_plugin_with_scope_task_and_its_type():
    brought = a_session(essentials).plugins
    brought.names.append("essentials")
    brought.origins["essentials"] = "built in"
    found = {name: declaration for name, (declaration, _) in brought.resources().items()}
    assert set(found) == set(RESOURCES)
    for name, declaration in found.items():
        assert declaration.scope == "task"
        assert declaration.doc
        assert given_type(declaration) is RESOURCES[name]
        assert cannot_fit(given_type(declaration), int)


@pytest.mark.parametrize("name", ["run", "log", "out", "rng"])
def test_outside_of_an_attempt_there_is_none(name):
    with pytest.raises(ResourceError, match=f"'{name}' belongs to an attempt"):
        getattr(essentials, name)()


def test_scheduled_at_is_a_value_of_the_session():
    session = a_session(essentials)
    assert session.plugins.all("flowkit_inputs", session=session) == [
        ("essentials", {"scheduled_at": NOON})
    ]


def test_run_tells_of_the_run_and_the_attempt():
    with inside(an_attempt(run=a_run("r7", params={"day": 3}), number=2)):
        context = essentials.run()
    assert context == RunContext("r7", "weather", {"day": 3}, NOON, 2)
    with pytest.raises(TypeError):
        context.params["day"] = 4
    with pytest.raises(AttributeError):
        context.id = "other"


# --- log --------------------------------------------------------------------------------------


@pytest.fixture
def records():
    """What reaches the root logger."""
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            found.append((record.levelname, record.name, record.getMessage()))

    handler = Handler()
    logging.root.addHandler(handler)
    yield found
    logging.root.removeHandler(handler)


def a_logger(flow="weather"):
    with inside(an_attempt(a_task(flow=BoundFlow(flow, "w.py")), element="3")):
        return essentials.log()


def test_log_is_bound_to_the_node_and_shows_info(records):
    log = a_logger()
    log.info("page %d", 3)
    log.debug("unseen")
    assert records == [("INFO", "flowkit.weather.fetch[3]", "page 3")]


def test_log_is_not_kept_by_logging():
    a_logger()
    assert not [name for name in logging.root.manager.loggerDict if "fetch" in name]


def test_the_level_of_the_flows_logger_holds(records, request):
    above = logging.getLogger("flowkit.noisy")
    request.addfinalizer(lambda: above.setLevel(logging.NOTSET))
    above.setLevel(logging.DEBUG)
    a_logger("noisy.sub").debug("seen")
    above.setLevel(logging.ERROR)
    a_logger("noisy").warning("unseen")
    assert [message for _, _, message in records] == ["seen"]


# --- tmp_path ---------------------------------------------------------------------------------


def test_tmp_path_is_a_folder_of_ones_own_that_is_removed_afterwards():
    with inside(an_attempt(element="a/b")):
        one, two = essentials.tmp_path(), essentials.tmp_path()
        first, second = next(one), next(two)
    assert first != second
    assert first.is_dir()
    (first / "deep").mkdir()
    (first / "deep" / "file").write_text("x")
    assert next(one, None) is None
    assert not first.exists()
    assert second.is_dir()
    two.close()  # as after a failure
    assert not second.exists()


# --- rng --------------------------------------------------------------------------------------


def drawn(arguments, *, task="fetch", node="", number=1, resources=()):
    bound = a_task(task)
    bound.resources = {name: BoundResource(name, bound.declaration) for name in resources}
    attempt = an_attempt(bound, element=node, number=number)
    attempt.arguments = arguments
    with inside(attempt):
        return essentials.rng().random()


def test_rng_depends_on_the_arguments_and_the_tasks_name_alone():
    assert drawn({"n": 1, "m": [2]}) == drawn({"m": [2], "n": 1}, node="7", number=3)
    assert drawn({"n": 1}) != drawn({"n": 2})
    assert drawn({"n": 1}) != drawn({"m": 1})
    assert drawn({}) != drawn({}, task="other")
    assert drawn({"n": 1}) == drawn({"n": 1, "db": object()}, resources=["db"])


def test_rng_is_the_same_in_each_process():
    arguments = {"n": 1, "names": {"a", "b", "c"}, "key": pydantic.SecretStr("hunter2")}
    written = "{'key': SecretStr('hunter2'), 'names': {*'cab'}, 'n': 1}"
    code = f"from pydantic import SecretStr; import test_essentials as t; print(t.drawn({written}))"
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True, check=True
    )
    assert float(told.stdout) == drawn(arguments)


def test_rng_of_what_has_no_content_depends_on_the_node():
    assert drawn({"lock": (n for n in "ab")}, node="1") == drawn({"lock": iter("cd")}, node="1")
    assert drawn({"lock": iter("ab")}, node="1") != drawn({"lock": iter("ab")}, node="2")


def test_rng_does_not_see_how_long_an_upstream_took():
    assert drawn({"a": Success(3, 1, 0.5)}) == drawn({"a": Success(3, 2, 9.0, cached=True)})
    assert drawn({"a": Success(3)}) != drawn({"a": Success(4)})
    slow = Collected([Success(3, 1, 0.5), Failure(OSError("x"), "line 1")], ["a", "b"])
    fast = Collected([Success(3, 1, 0.1), Failure(OSError("x"), "line 2")], ["c", "d"])
    assert drawn({"a": slow}) == drawn({"a": fast})


# --- out --------------------------------------------------------------------------------------


def test_a_file_appears_under_its_nodes_name_when_the_task_succeeds(call, root):
    def body(out):
        path = written(out, "table.csv", "1,2")
        assert path.name == "table.csv"
        assert not (root / "out" / "clean[BUD]").exists()
        return path

    attempt = call(body, element="BUD")
    assert attempt.value == root / "out" / "clean[BUD]" / "table.csv"
    assert files(root) == {"out/clean[BUD]/table.csv": "1,2"}


def test_the_staging_folder_is_on_the_same_file_system_below_out(call, root):
    def body(out):
        assert out("x").is_relative_to(root / "out" / ".staging")

    call(body)
    assert files(root) == {}


@pytest.mark.parametrize("kind", ["error", "timeout", "skip", "cancelled", ""])
def test_anything_but_a_success_leaves_nothing(call, root, kind):
    call(lambda out: written(out, "table.csv"), kind=kind)
    assert not (root / "out").exists()


def test_a_failure_leaves_the_last_version(call, root):
    call(lambda out: written(out, "table.csv", "old"))
    call(lambda out: written(out, "table.csv", "new"), kind="error")
    assert files(root) == {"out/clean/table.csv": "old"}


def test_a_success_replaces_the_last_version_and_leaves_other_files(call, root):
    call(lambda out: (written(out, "a", "1"), written(out, "b", "1")))
    call(lambda out: written(out, "a", "2"))
    assert files(root) == {"out/clean/a": "2", "out/clean/b": "1"}


def test_a_wrapper_that_is_closed_removes_what_was_staged(root):
    attempt = an_attempt(run=a_run(root=root))
    generator = essentials.flowkit_attempt_call(attempt)
    next(generator)
    with inside(attempt):
        written(essentials.out(), "table.csv")
    generator.close()
    assert not (root / "out").exists()


def test_names_may_have_folders_in_them(call, root):
    call(lambda out: written(out, "a/b/c.csv", "1"))
    call(lambda out: written(out, Path("a/d.csv"), "2"))
    assert files(root) == {"out/clean/a/b/c.csv": "1", "out/clean/a/d.csv": "2"}


def test_a_folder_that_was_asked_for_is_replaced_as_a_whole(call, root):
    def parts(*names):
        def body(out):
            folder = out("data.parquet")
            folder.mkdir()
            for name in names:
                (folder / name).write_text(name)
            return folder

        return body

    call(parts("1", "2", "3"))
    assert call(parts("1")).value == root / "out/clean/data.parquet"
    assert files(root) == {"out/clean/data.parquet/1": "1"}
    call(lambda out: written(out, "data.parquet", "a file now"))
    assert files(root) == {"out/clean/data.parquet": "a file now"}


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", "", "."])
def test_a_name_outside_of_the_folder_is_refused(call, name):
    def body(out):
        with pytest.raises(ValueError, match="inside the task's own folder"):
            out(name)

    call(body)


def test_a_name_is_text(call):
    def body(out):
        with pytest.raises(TypeError, match="a file's name"):
            out(3)

    call(body)


def test_a_folder_that_another_attempt_removes_meanwhile_is_made_again(root, monkeypatch):
    """Whoever wrote nothing removes ``out`` and ``out/.staging``, perhaps between the making of the two."""
    make, gone = Path.mkdir, []

    def mkdir(self, *args, **kwargs):
        make(self, *args, **kwargs)
        if not gone:
            gone.append(self)
            raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    assert essentials._private_folder(root / "out" / ".staging").is_dir()
    assert gone


def test_two_attempts_of_one_node_do_not_share_their_staging(call, root):
    def body(out):
        call(lambda inner: written(inner, "a", "inner"))
        return written(out, "a", "outer")

    call(body)
    assert files(root) == {"out/clean/a": "outer"}


# --- paths in the value -----------------------------------------------------------------------

Pair = namedtuple("Pair", "a b")


@dataclass(frozen=True)
class Frozen:
    path: Path
    n: int = 1


@dataclass(slots=True)
class Slotted:
    paths: list


class Model(pydantic.BaseModel):
    path: Path


@pytest.mark.parametrize(
    "wrap",
    [
        lambda p: p,
        lambda p: str(p),
        lambda p: [1, p],
        lambda p: (p, p),
        lambda p: {"a": {"b": [p]}},
        lambda p: {p: 1},
        lambda p: OrderedDict(x=1, p=p),
        lambda p: defaultdict(list, p=[p]),
        lambda p: {p, Path("other")},
        lambda p: frozenset([p]),
        lambda p: Pair(p, 2),
        lambda p: Frozen(p),
        lambda p: Slotted([p]),
        lambda p: Model(path=p),
        lambda p: p.parent,
    ],
)
def test_a_staging_path_is_replaced_wherever_it_is_in_the_value(call, root, wrap):
    value = call(lambda out: wrap(written(out, "t.csv"))).value
    assert value == wrap(root / "out" / "clean" / "t.csv")
    assert type(value) is type(wrap(Path("x")))


def test_the_tasks_own_objects_are_not_changed_and_others_are_not_copied(call):
    kept = {}

    def body(out):
        kept["with"] = [written(out, "t.csv")]
        kept["without"] = [Path("elsewhere"), "text", {"n": 1}]
        return (kept["with"], kept["without"])

    replaced, same = call(body).value
    assert kept["with"] != replaced
    assert same is kept["without"]


def test_a_value_that_leads_back_to_itself_ends(call, root):
    def body(out):
        loop = [written(out, "t.csv")]
        loop.append(loop)
        return loop

    assert call(body).value[0] == root / "out/clean/t.csv"


def test_a_resolved_path_counts_too(tmp_path, call, root):
    real = tmp_path / "elsewhere"
    real.mkdir()
    root.symlink_to(real)
    assert call(lambda out: written(out, "t.csv").resolve()).value == root / "out/clean/t.csv"


def test_a_returned_path_that_was_never_written_is_an_error(call, root):
    attempt = call(lambda out: [out("t.csv")])
    assert attempt.kind == "error"
    assert isinstance(attempt.error, FileNotFoundError)
    assert "returned out('t.csv'), but wrote nothing there" in attempt.traceback
    assert attempt.value is None
    assert files(root) == {}


def test_what_cannot_be_put_in_its_place_is_an_error(call, root):
    (root / "out").mkdir(parents=True)
    (root / "out" / "clean").write_text("in the way")
    attempt = call(lambda out: written(out, "t.csv"))
    assert (attempt.kind, type(attempt.error)) == ("error", FileExistsError)
    assert files(root) == {"out/clean": "in the way"}


# --- names of folders -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "name"),
    [
        ("clean", "clean"),
        ("page[3]", "page[3]"),
        ("page[a/b]", "page[a%2Fb]"),
        ("page[50%]", "page[50%25]"),
        ("page[é ü]", "page[é ü]"),
        (".staging", "%2Estaging"),
        ("..", "%2E."),
        ("a\nb:c", "a%0Ab%3Ac"),
        ("\ud800", "%D800"),
    ],
)
def test_a_nodes_folder_is_named_like_it(node, name):
    assert folder_name(node) == name


def test_long_names_stay_apart_and_short_enough():
    one, two = (folder_name(f"page[{'ü' * 200}{end}]") for end in "ab")
    assert one != two
    assert max(len(os.fsencode(n)) for n in (one, two)) <= 200


def test_the_built_in_plugins_import_nothing_heavy():
    names = ("essentials", "capture", "retry", "timeout", "limit")
    code = f"""
import sys
for name in {names!r}:
    __import__("flowkit_plugins." + name)
heavy = {{"pydantic", "click", "rich", "asyncio", "concurrent.futures", "diskcache", "tempfile"}}
print(*heavy & set(sys.modules))
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""
