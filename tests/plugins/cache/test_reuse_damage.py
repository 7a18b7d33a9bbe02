"""Whatever is wrong with the store, a run goes on: a miss with a reason or a warning, never a wrong value."""

import contextlib
import os
import pickle
import shutil
import sqlite3
import subprocess
import sys

import pytest

FLOW = """
    @task
    def small(): return {"n": 1}

    @task
    def large(): return list(range(20_000))

    @task(cache=False)
    def answer(small, large):
        Path("answer").write_text(f"{small['n']} {len(large)}")
        return None
"""


@pytest.fixture
def kept(flow):
    """A flow with a small and a large result in the store."""
    flow.write(FLOW)
    flow.run()
    (flow.root / "answer").unlink()
    return flow


def run(flow, *words):
    """Run it on the command line: well, with the right answer, and no traceback. Return what it said."""
    done = flow.project.flowkit("run", "m.py", "-v", *words)
    said = done.out + done.err
    assert done.exit_code == 0, said
    assert "Traceback" not in said and "internal error" not in said
    assert flow.project.read("answer") == "1 20000"
    return said


def database(flow, name="results/cache.db"):
    return contextlib.closing(sqlite3.connect(flow.root / ".flowkit" / name, isolation_level=None))


def large_file(flow):
    (file,) = (flow.root / ".flowkit" / "results").glob("??/??/*.val")
    return file


def line(said, node):
    """The last line about a node: it may first be found cached, and then lost."""
    return [each for each in said.splitlines() if f"::{node} " in each][-1]


@pytest.mark.parametrize("executor", ["threads", "inline"])
def test_a_damaged_list_whose_elements_are_unpacked_is_computed_again(flow, executor):
    flow.write("""
        @task
        def pairs(): return [("a" * 200, "b" * 200), ("c", "d")]

        @task(each={"x,y": "pairs"})
        def both(x, y): return x + y
    """)
    flow.run()
    with database(flow) as db:
        db.execute("UPDATE Cache SET value = x'00112233' WHERE length(value) > 320")
    flow.edit("return x + y", "return y + x")
    done = flow.project.flowkit("run", "m.py", "-v", "--executor", executor)
    assert done.exit_code == 0, done.out + done.err
    assert "blob unreadable" in line(done.out, "pairs")
    assert flow.value("both[1]") == "dc"


def test_a_planted_pickle_is_never_read(kept):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(kept.root / "evil"),)

    with database(kept) as db:
        db.execute("UPDATE Cache SET mode = 4, value = ?, filename = NULL", (pickle.dumps(Evil()),))
    said = run(kept)
    assert not (kept.root / "evil").exists()
    assert "blob unreadable" in line(said, "small")
    assert kept.ran() == ["answer"]


def test_a_planted_value_in_a_file_is_not_signed(kept):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(kept.root / "evil"),)

    from flowkit_plugins.cache import serializing

    dumped = serializing.dump(Evil())
    large_file(kept).write_bytes(b"".join([bytes(32), *dumped.pieces(32)]))
    said = run(kept)
    assert not (kept.root / "evil").exists()
    assert "signature mismatch" in line(said, "large")
    assert "is not signed by you" in said
    assert kept.ran() == ["answer"]


@pytest.mark.parametrize("where", [40, 200, -1], ids=["header", "middle", "end"])
def test_a_flipped_bit_is_a_miss(kept, where):
    file = large_file(kept)
    data = bytearray(file.read_bytes())
    data[where] ^= 1
    file.write_bytes(data)
    run(kept)
    assert "ran" in {n.word for n in kept.last.report.nodes}
    assert kept.ran() == ["answer"]


def test_a_truncated_blob_is_a_miss_that_says_so(kept):
    file = large_file(kept)
    file.write_bytes(file.read_bytes()[:1000])
    assert "blob unreadable" in line(run(kept), "large")
    assert kept.ran() == ["answer"]


def test_a_missing_file_is_a_miss_that_says_so(kept):
    large_file(kept).unlink()
    assert "blob missing" in line(run(kept), "large")
    assert kept.ran() == ["answer"]


TARGETS = """
    class Raw(bytearray):
        def __reduce_ex__(self, protocol):
            from pickle import PickleBuffer
            return Raw, (PickleBuffer(self),)

    @task
    def numbers(): return {value}

    @task
    def length(numbers): return len(numbers)
"""
#: One in a file of its own, one in the database, one whose buffers are kept apart from its pickle.
SIZES = {"file": "list(range(20_000))", "row": "list(range(200))", "buffers": "Raw(100_000)"}


def damage(flow, place=-1):
    """Flip a bit in each value that is stored."""
    for file in (flow.root / ".flowkit" / "results").glob("??/??/*.val"):
        data = bytearray(file.read_bytes())
        data[place] ^= 1
        file.write_bytes(data)
    with database(flow) as db:
        for row, value in db.execute("SELECT rowid, value FROM Cache WHERE value IS NOT NULL").fetchall():
            data = bytearray(value)
            data[place] ^= 1
            db.execute("UPDATE Cache SET value = ? WHERE rowid = ?", (bytes(data), row))


@pytest.mark.parametrize("value", SIZES.values(), ids=SIZES)
def test_a_damaged_value_that_was_asked_for_after_the_run_is_computed_again_by_the_next_one(flow, value):
    flow.write(TARGETS.format(value=value))
    flow.run()
    length = flow.last["length"]
    damage(flow)
    assert flow.words() == {"numbers": "cached", "length": "cached"}
    with pytest.raises(LookupError, match="cannot be had any more: .*; run again: it will be computed anew"):
        flow.last["numbers"]
    words = flow.words()
    assert words["numbers"] == "same"
    assert flow.last.report.named("numbers").reason in ("signature mismatch", "blob unreadable")
    assert len(flow.last["numbers"]) == length
    assert flow.words() == {"numbers": "cached", "length": "cached"}
    assert len(flow.last["numbers"]) == length


def test_a_target_whose_file_is_missing_is_computed_again(flow):
    flow.write(TARGETS.format(value=SIZES["file"]))
    flow.run()
    large_file(flow).unlink()
    assert flow.plan()["numbers"][1] == "blob missing"
    assert flow.words("m.py::length") == {"numbers": "cached", "length": "cached"}  # nobody can ask for it
    assert flow.words() == {"numbers": "same", "length": "cached"}
    assert flow.last.report.named("numbers").reason == "blob missing"
    assert len(flow.last["numbers"]) == 20_000
    assert flow.words() == {"numbers": "cached", "length": "cached"}


def test_a_missing_row_is_a_miss_that_says_so(kept):
    with database(kept) as db:
        db.execute("DELETE FROM Cache")
    said = run(kept)
    assert "blob missing" in line(said, "large") and "blob missing" in line(said, "small")
    assert kept.ran() == ["answer"]


def test_traces_of_a_future_version_are_a_miss_and_are_not_written_to(kept):
    with database(kept, "traces.db") as db:
        db.execute("PRAGMA user_version = 99")
    said = run(kept)
    assert "key format changed" in line(said, "large")
    assert "written by another version of flowkit" in said
    with database(kept, "traces.db") as db:
        assert db.execute("PRAGMA user_version").fetchone() == (99,)


def test_a_trace_of_a_future_format_is_a_miss(kept):
    with database(kept, "traces.db") as db:
        db.execute("UPDATE traces SET format = 2")
    assert "key format changed" in line(run(kept), "large")
    assert kept.ran() == ["answer"]


@pytest.mark.parametrize("file", ["traces.db", "results/cache.db"])
def test_a_damaged_database_is_one_warning(kept, file):
    for path in (kept.root / ".flowkit").glob(f"{file}-*"):
        path.unlink()
    (kept.root / ".flowkit" / file).write_bytes(b"this is no database" * 1000)
    said = run(kept)
    assert "flowkit cache clear" in said
    assert said.count("is damaged") == 1


def test_a_value_whose_class_has_gone_is_a_miss(flow):
    flow.project.write("shapes.py", "class Box:\n    pass\n")
    flow.write("""
        @task
        def a():
            import importlib
            return getattr(importlib.import_module("shapes"), Path("kind").read_text())()

        @task(cache=False)
        def b(a): return 1
    """)
    flow.project.write("kind", "Box")
    assert flow.run().ok
    flow.project.write("kind", "Ball")
    flow.project.write("shapes.py", "class Ball:\n    pass\n")
    done = flow.project.flowkit("run", "m.py", "-v")
    assert done.exit_code == 0 and "blob unreadable" in line(done.out, "a")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_store_of_somebody_else_is_not_used(kept):
    for path in [kept.root / ".flowkit" / "results", kept.root / ".flowkit" / "locks"]:
        shutil.chown(path, 12345)
    said = run(kept)
    assert "belongs to another user (uid 12345" in said


def test_a_folder_others_may_write_to_is_not_used(kept):
    (kept.root / ".flowkit" / "results").chmod(0o777)
    said = run(kept)
    assert "others may write to" in said and "chmod 700" in said


@contextlib.contextmanager
def mounted(folder, options):
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True)
    if done.returncode:
        pytest.skip("needs a file system of its own")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def test_a_full_disk_is_one_warning(flow):
    flow.write(FLOW)
    with mounted(flow.root / ".flowkit", "size=100k"):
        said = run(flow)
        assert "no space left" in said or "disk is full" in said
        assert said.count("results are not persisted") == 1
        assert "3 ran" in said


@pytest.mark.parametrize("left", [0, 1, 2, 5, 12])
def test_a_disk_with_some_pages_left_ends_no_process(flow, left):
    flow.write(FLOW)
    with mounted(flow.root / ".flowkit", "size=256k"):
        with contextlib.suppress(OSError), (flow.root / ".flowkit" / "filler").open("wb", buffering=0) as filler:
            filler.write(bytes(4096 * (64 - left)))
        said = run(flow)  # it ends well: the exit code is looked at there
        assert "3 ran" in said


def test_a_disk_that_fills_up_during_the_run_loses_no_value(flow):
    flow.write("""
        @task(each={"i": list(range(12))})
        def part(i: int): return [i] * 20_000
        @task
        def total(part: Collected[list]): return sum(len(p) for p in part)
    """)
    with mounted(flow.root / ".flowkit", "size=400k"):
        run = flow.run(executor="threads")
        assert run.ok and run["total"] == 240_000
        assert run["part[3]"][:2] == [3, 3]
        assert len([n for n in run.report.notes if "not persisted" in n]) == 1


def test_a_read_only_folder_is_one_warning(kept):
    with mounted(kept.root / ".flowkit", "size=100k"):
        subprocess.run(["mount", "-o", "remount,ro", kept.root / ".flowkit"], check=True)
        said = run(kept)
        assert said.count("results are not persisted") == 1


def test_a_warm_store_on_a_read_only_disk_is_still_reused(flow):
    flow.write("@task\ndef a(): return 1")
    with mounted(flow.root / ".flowkit", "size=5m"):
        flow.run()
        subprocess.run(["mount", "-o", "remount,ro", flow.root / ".flowkit"], check=True)
        assert flow.words() == {"a": "cached"}
        assert flow.last["a"] == 1


#: Leaves a journal that has to be rolled back, as a kill while the file is being made does.
KILLED = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode = DELETE")
db.execute("PRAGMA cache_size = 1")
db.execute("BEGIN IMMEDIATE")
db.execute("CREATE TABLE half (text)")
db.executemany("INSERT INTO half VALUES (?)", [("x" * 5000,)] * 50)
os._exit(0)
"""


@pytest.mark.parametrize("file", ["traces.db", "results/cache.db"])
def test_a_database_left_half_written_by_a_kill_is_rolled_back_and_used(kept, file):
    path = kept.root / ".flowkit" / file
    subprocess.run([sys.executable, "-c", KILLED, path], check=True)
    assert path.with_name(path.name + "-journal").exists()
    assert kept.ran() == ["answer"]  # cache=False
    assert not kept.last.report.notes
