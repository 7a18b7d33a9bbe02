"""``flowkit cache``: what is kept can be seen, taken out, checked and tidied up, and nothing else goes."""

import contextlib
import json
import os
import pickle
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from flowkit.errors import FlowkitError, OptionError, SelectionError
from flowkit.services import Needs
from flowkit_plugins.cache import export, gc
from flowkit_plugins.cache.gc import Kept, Policy, mark
from flowkit_plugins.cache.sizes import shown, size
from flowkit_plugins.cache.stored import stored
from flowkit_plugins.cache.traces import Last, Trace, Traces

NOW = 1_800_000_000.0
DAY = 86400.0
TODAY = int(NOW // DAY)

FLOW = """
    from dataclasses import dataclass
    from flowkit import Collected, skip, task
    from helpers import twice

    @dataclass
    class Row:
        number: int
        text: str

    @task
    def numbers(n: int = 3) -> list[int]: return list(range(n))

    @task(each={"number": "numbers"})
    def doubled(number: int) -> int: return twice(number)

    @task
    def rows(doubled: Collected[int]) -> list[Row]: return [Row(n, str(n)) for n in doubled]

    @task
    def text(rows) -> str: return f"{len(rows)} rows"

    @task
    def note(text, out):
        path = out("note.txt")
        path.write_text(text)
        return path

    @task
    def nothing(text): skip("no need")

    @task
    def lock():
        import threading
        return threading.Lock()

    @task(cache=False)
    def always(): return 1

    @task
    def large(n: int = 3) -> bytes: return b"x" * (n * 50_000)
"""


@pytest.fixture
def kept(project):
    """A project whose flow has run once."""
    project.write("helpers.py", "def twice(number):\n    return number * 2\n")
    project.write("m.py", FLOW)
    assert project.run("m.py").ok
    return project


def cache(project, *words, **keywords):
    return project.flowkit("cache", *words, **keywords)


def said(project, *words, code=0):
    """What a command prints, having ended as expected and without a traceback."""
    ended = cache(project, *words)
    assert "Traceback" not in ended.err
    assert ended.exit_code == code, ended
    return ended.out + ended.err


def edit_helper(project):
    project.write("helpers.py", "def twice(number):\n    return number + number\n")


def words_of(run):
    return {node.node: node.word for node in run.report.nodes}


def traces(project):
    return Traces(project.root / ".flowkit" / "traces.db")


def make_old(project, days=2.0):
    """Have everything in the store look as if it had been written some days ago."""
    records = traces(project)
    aged = [
        t._replace(created=t.created - days * DAY, used=int((t.created - days * DAY) // DAY))
        for t in records.everything()
    ]
    records.commit(aged)
    records.close()
    with contextlib.closing(sqlite3.connect(project.root / ".flowkit/results/cache.db")) as database, database:
        database.execute("UPDATE Cache SET store_time = store_time - ?", (days * DAY,))
    database.close()


def rows_left(project):
    with contextlib.closing(sqlite3.connect(project.root / ".flowkit/results/cache.db")) as database, database:
        ((count,),) = database.execute("SELECT COUNT(*) FROM Cache").fetchall()
    database.close()
    return count


# --- before there is anything -------------------------------------------------------------------


@pytest.mark.parametrize("command", ["ls", "stat", "gc", "verify"])
def test_where_nothing_is_kept_that_is_said(project, command):
    assert "no results are kept in .flowkit yet" in said(project, command)
    assert not (project.root / ".flowkit" / "results").exists()


def test_a_node_of_an_empty_store_is_an_error_that_says_what_to_do(project):
    project.write("m.py", "from flowkit import task\n@task\ndef a(): return 1\n")
    assert "Run the flow first" in said(project, "get", "m.py::a", code=4)


# --- looking ------------------------------------------------------------------------------------


def test_ls_lists_each_node_with_its_size_and_what_is_special(kept):
    out = said(kept, "ls")
    lines = {line.split()[0]: line for line in out.splitlines()[1:-1]}
    assert "m.py::doubled[2]" in lines
    assert "150 kB" in lines["m.py::large"]
    assert "skipped: no need" in lines["m.py::nothing"]
    assert "not stored: " in lines["m.py::lock"]


def test_elements_are_listed_in_natural_order(project):
    project.write(
        "m.py",
        "from flowkit import task\n@task(each={'n': list(range(12))})\ndef a(n): return n\n",
    )
    project.run("m.py")
    nodes = [line.split()[0] for line in said(project, "ls").splitlines()[1:-1]]
    assert nodes == [f"m.py::a[{n}]" for n in range(12)]


def test_ls_takes_a_flow_a_folder_a_task_or_a_node(kept):
    kept.write("sub/n.py", "from flowkit import task\n@task\ndef other(): return 1\n")
    kept.run("sub/n.py")
    assert "m.py::" not in said(kept, "ls", "sub")
    assert "sub/n.py::other" in said(kept, "ls", "sub/n.py")
    assert "sub/n.py::other" in said(kept, "ls", "sub.n")
    assert said(kept, "ls", "m.py::doubled").count("m.py::doubled[") == 3
    assert said(kept, "ls", "m.py::doubled[1]").count("m.py::doubled[") == 1


def test_stat_adds_up_the_sizes_per_task_the_largest_first(kept):
    lines = said(kept, "stat").splitlines()
    assert lines[1].split()[:4] == ["m.py::large", "1", "150", "kB"]
    doubled = next(line for line in lines if line.startswith("m.py::doubled"))
    assert doubled.split()[1] == "3"
    assert "are copies of files in out/" in lines[-1]


def test_an_unknown_name_is_an_error_with_the_nearest_known_one(kept):
    for command in ("get", "pin", "unpin", "accept", "ls", "stat"):
        assert "Did you mean 'm.py::rows'?" in said(kept, command, "m.py::rowz", code=4)
    assert "Did you mean 'm.py::doubled[" in said(kept, "get", "m.py::doubled[8]", code=4)
    assert "names no task" in said(kept, "get", "rows", code=4)
    assert "no result is kept of nowhere.py" in said(kept, "ls", "nowhere.py", code=4)


# --- taking out ---------------------------------------------------------------------------------


def test_get_shows_a_value_of_a_class_of_the_flow(kept):
    out = said(kept, "get", "m.py::rows")
    assert out == "[Row(number=0, text='0'), Row(number=2, text='2'), Row(number=4, text='4')]\n"


def test_get_shows_text_as_it_is_and_an_element_by_its_id(kept):
    assert said(kept, "get", "m.py::text") == "3 rows\n"
    assert said(kept, "get", "m.py::doubled[2]") == "4\n"


def test_get_writes_bytes_as_they_are(kept):
    assert cache(kept, "get", "m.py::large").out == "x" * 150_000
    said(kept, "get", "m.py::large", "-o", "large.bin")
    assert (kept.root / "large.bin").read_bytes() == b"x" * 150_000


def test_get_finds_a_flow_from_another_folder(kept, monkeypatch):
    (kept.root / "below").mkdir()
    monkeypatch.chdir(kept.root / "below")
    for name in ("../m.py::text", "m.py::text"):
        done = subprocess.run(
            kept.command("cache", "get", name),
            capture_output=True,
            env=kept.environment(),
            check=False,
        )
        assert done.stdout == b"3 rows\n"


def test_get_writes_the_kind_of_file_that_the_suffix_names(kept):
    said(kept, "get", "m.py::rows", "-o", "rows.json")
    assert json.loads(kept.read("rows.json"))[1] == {"number": 2, "text": "2"}
    said(kept, "get", "m.py::rows", "-o", "rows.csv")
    assert kept.read("rows.csv").splitlines() == ["number,text", "0,0", "2,2", "4,4"]
    said(kept, "get", "m.py::numbers", "-o", "numbers.pkl")
    assert pickle.loads((kept.root / "numbers.pkl").read_bytes()) == [0, 1, 2]
    said(kept, "get", "m.py::note", "-o", "copy.txt")
    assert kept.read("copy.txt") == "3 rows"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("m.py::numbers", "-o", "x.foo"), "a list does not go into a file of the kind .foo"),
        (("m.py::numbers", "-o", "x"), "a file of the kind without suffix"),
        (("m.py::numbers", "-o", "no/x.json"), "cannot be written: No such file or directory"),
        (("m.py::numbers", "-o", "x.parquet"), "a list is no table"),
        (("m.py::doubled",), "m.py::doubled is mapped"),
    ],
)
def test_what_cannot_be_written_is_said_and_leaves_no_file(kept, words, expected):
    before = set(kept.root.iterdir())
    assert expected in said(kept, "get", *words, code=4)
    assert set(kept.root.iterdir()) == before


def test_a_result_without_a_value_says_why(kept):
    assert "it was skipped (no need)" in said(kept, "get", "m.py::nothing", code=1)
    assert "was not stored: " in said(kept, "get", "m.py::lock", code=1)


def test_a_value_whose_class_is_gone_says_so(kept):
    kept.write("m.py", "from flowkit import task\n@task\ndef rows(): return []\n")
    assert "cannot be read: blob unreadable: AttributeError" in said(
        kept, "get", "m.py::rows", code=1
    )


def test_python_gets_a_value_by_its_node(kept):
    assert stored("m.py::doubled[1]") == 2
    with pytest.raises(SelectionError, match="is mapped"):
        stored("m.py::doubled")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from flowkit_plugins.cache.stored import stored; print(stored('m.py::text'))",
        ],
        capture_output=True,
        text=True,
        env=kept.environment(),
        check=False,
    )
    assert done.stdout == "3 rows\n"


@pytest.mark.parametrize(
    ("file", "told"),
    [("t.xyz", "an int does not go into a file of the kind .xyz"), ("t.csv", "an int is no table"), ("t.parquet", "an int is no table")],
)
def test_a_value_that_does_not_fit_a_file_is_called_by_its_kind(project, file, told):
    project.write("m.py", "from flowkit import task\n@task\ndef t(): return 1\n")
    told_before = project.flowkit("cache", "get", "m.py::t")
    assert told_before.exit_code == 4 and "Run the flow first: flowkit run m.py" in told_before.err
    project.run("m.py")
    assert told in project.flowkit("cache", "get", "m.py::t", "-o", file).err


def test_tables_and_arrays_go_into_their_own_kinds_of_file(tmp_path):
    numpy, pandas = pytest.importorskip("numpy"), pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    export.save(table, tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text() == "a,b\n1,x\n2,y\n"
    export.save(table, tmp_path / "t.json")
    assert json.loads((tmp_path / "t.json").read_text()) == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": "y"},
    ]
    if pytest.importorskip("pyarrow"):
        export.save(table, tmp_path / "t.parquet")
        assert pandas.read_parquet(tmp_path / "t.parquet").equals(table)
    export.save(numpy.arange(4), tmp_path / "a.npy")
    assert numpy.load(tmp_path / "a.npy").tolist() == [0, 1, 2, 3]
    with pytest.raises(OptionError, match="is no array: its elements are Python objects"):
        export.save([object()], tmp_path / "b.npy")
    with pytest.raises(OptionError, match="it holds an object"):
        export.save([object()], tmp_path / "b.json")
    assert not (tmp_path / "b.npy").exists()


# --- why and accept -----------------------------------------------------------------------------


def test_why_says_that_a_result_would_be_reused(kept):
    assert said(kept, "why", "m.py::text").startswith("m.py::text would be reused: cached ")


def test_why_names_the_code_that_changed_and_what_is_above(kept):
    edit_helper(kept)
    reason = "code of `twice` (helpers.py:1) changed"
    assert f"m.py::doubled[1] would run: {reason}" in said(kept, "why", "m.py::doubled")
    out = said(kept, "why", "m.py::text")
    assert "m.py::text may run: depends on `rows`" in out
    assert f"above it: m.py::doubled[0] would run: {reason}" in out


def test_why_names_all_that_changed_not_only_the_first(kept):
    kept.write("m.py", FLOW.replace("* 50_000", "* 50_001"))
    out = said(kept, "why", "m.py::large", "-P", "n=4")
    assert "code of `large` changed" in out
    assert "also: parameter `n` changed: 3 → 4" in out


def test_why_of_a_task_that_never_ran_or_is_not_there(kept):
    kept.write("m.py", FLOW + "\n    @task\n    def new(): return 1\n")
    assert "m.py::new would run: no record" in said(kept, "why", "m.py::new")
    assert "last result: none" in said(kept, "why", "m.py::new")
    assert "Did you mean" in said(kept, "why", "m.py::nwe", code=4)
    assert "names no task" in said(kept, "why", "m.py", code=4)


def test_accepted_results_are_reused_though_their_code_changed(kept):
    edit_helper(kept)
    assert "accepted m.py::doubled[2]" in said(kept, "accept", "m.py::doubled")
    words = words_of(kept.run("m.py"))
    assert {words[f"doubled[{n}]"] for n in range(3)} == {"cached"}
    assert words["rows"] == words["text"] == "cached"


def test_the_reason_after_an_accepted_change_is_the_next_change(kept):
    edit_helper(kept)
    said(kept, "accept", "m.py::doubled")
    kept.write("helpers.py", "def twice(number):\n    return sum([number, number])\n")
    assert "code of `twice` (helpers.py:1) changed" in said(kept, "why", "m.py::doubled")


def test_a_chain_is_accepted_in_one_go(kept):
    kept.write(
        "m.py", FLOW.replace("Row(n, str(n))", "Row(n, f'{n}')").replace("} rows", "} rows ")
    )
    out = said(kept, "accept", "m.py::text", "m.py::rows")
    assert "accepted m.py::rows" in out
    assert "accepted m.py::text" in out
    assert stored("m.py::text") == "3 rows"


def test_what_did_not_change_is_accepted_as_it_is(kept):
    assert "m.py::text is reused as it is" in said(kept, "accept", "m.py::text")


def test_only_a_change_of_code_can_be_accepted(kept):
    out = said(kept, "accept", "m.py::large", "-P", "n=4", code=1)
    assert "not accepted: m.py::large: parameter `n` changed: 3 → 4" in out
    edit_helper(kept)
    out = said(kept, "accept", "m.py::text", code=1)
    assert "depends on `rows`" in out
    assert "run or accept that first" in out
    out = said(kept, "accept", "m.py::doubled", "-P", "n=4", code=1)
    assert "known after `numbers`" in out


def test_a_result_that_was_cleared_cannot_be_accepted(kept):
    said(kept, "clear", "m.py::doubled", "--yes")
    edit_helper(kept)
    assert "its result is not kept any more" in said(kept, "accept", "m.py::doubled", code=1)


# --- pins ---------------------------------------------------------------------------------------


def test_a_pinned_result_survives_and_an_unpinned_one_does_not(kept):
    kept.write("flowkit.toml", "[cache]\nmax_age = '1d'\n")
    said(kept, "pin", "m.py::doubled", "m.py::text")
    assert "pinned" in said(kept, "ls", "m.py::text")
    make_old(kept)
    said(kept, "gc")
    assert said(kept, "ls").splitlines()[-1] == "4 results"
    assert "unpinned m.py::text" in said(kept, "unpin", "m.py::text")
    assert "was not pinned" in said(kept, "unpin", "m.py::text")
    said(kept, "gc")
    assert said(kept, "ls").splitlines()[-1] == "3 results"
    assert words_of(kept.run("m.py"))["doubled[1]"] == "cached"


def test_what_is_gone_cannot_be_pinned(kept):
    said(kept, "clear", "m.py::text", "--yes")
    assert "is not kept any more" in said(kept, "pin", "m.py::text")


# --- verify -------------------------------------------------------------------------------------


def damage_large(project):
    (file,) = (project.root / ".flowkit/results").glob("??/??/*.val")
    data = bytearray(file.read_bytes())
    data[-10] ^= 1
    file.write_bytes(data)


def test_a_sound_store_is_said_to_be_sound(kept):
    assert "all are sound" in said(kept, "verify")


def test_a_flipped_bit_is_found_and_removed_and_the_task_runs_again(kept):
    damage_large(kept)
    out = said(kept, "verify", code=1)
    assert "damaged: m.py::large: " in out
    assert "1 damaged" in out
    assert "removed 1" in said(kept, "verify", "--delete", code=1)
    assert "all are sound" in said(kept, "verify")
    words = words_of(kept.run("m.py"))
    assert (words["large"], words["text"]) == ("same", "cached")


def test_a_damaged_member_of_a_pack_leaves_the_others(project):
    kept = project
    project.write(
        "m.py",
        "from flowkit import task\n@task(each={'n': list(range(40))})\ndef a(n): return n\n",
    )
    project.run("m.py", executor="inline")
    with contextlib.closing(sqlite3.connect(kept.root / ".flowkit/results/cache.db")) as database, database:
        packs = database.execute("SELECT key, value FROM Cache WHERE key LIKE 'pack-%'").fetchall()
        assert packs, "the small results of this flow share a row"
        key, value = packs[0]
        changed = bytearray(value)
        changed[40] ^= 1
        database.execute("UPDATE Cache SET value = ? WHERE key = ?", (bytes(changed), key))
    database.close()
    assert "1 damaged" in said(kept, "verify", "--delete", code=1)
    assert "all are sound" in said(kept, "verify")
    assert sorted(words_of(project.run("m.py")).values()) == ["cached"] * 39 + ["same"]


def test_verify_unpickles_nothing(kept):
    kept.write("m.py", "raise SystemExit('imported')\n")
    assert "all are sound" in said(kept, "verify")


def test_a_missing_file_is_found(kept):
    (file,) = (kept.root / ".flowkit/results").glob("??/??/*.val")
    file.unlink()
    assert "blob missing" in said(kept, "verify", "--delete", code=1)
    assert "all are sound" in said(kept, "verify")


def test_with_another_key_nothing_is_removed(kept):
    other = {"FLOWKIT_CACHE_KEY": "another key, long enough"}
    ended = cache(kept, "verify", "--delete", env=other)
    assert ended.exit_code == 1
    assert "nothing was removed" in ended.err
    assert "all are sound" in said(kept, "verify")


# --- gc: what is marked -------------------------------------------------------------------------


def a_trace(key, *, node="m.py::a", days=2.0, used=None, blob="", size=100, files=None):
    """A record of some days ago; ``used`` so many days ago, or never since."""
    created = NOW - days * DAY
    day = int(created // DAY) if used is None else TODAY - used
    return Trace(
        key,
        node,
        key,
        blob or f"v-{key}",
        "success",
        1.0,
        created,
        size=size,
        used=day,
        files=files,
    )


def kept_of(*found, **rows):
    sizes = {t.blob.partition("@")[0]: t.size for t in found if t.blob}
    return Kept(found, {**sizes, **rows}, dict.fromkeys({**sizes, **rows}, NOW - 2 * DAY))


def gone(kept, policy=None, needed=()):
    return {t.key for t in mark(kept, policy or Policy(), set(needed), NOW).traces}


def test_of_each_node_the_last_results_stay():
    found = [a_trace(f"k{n}", days=10 - n) for n in range(5)] + [a_trace("b", node="m.py::b")]
    assert gone(kept_of(*found)) == {"k0", "k1"}


def test_a_result_that_is_used_again_counts_as_late_as_its_use():
    found = [a_trace(f"k{n}", days=10 - n) for n in range(4)] + [a_trace("old", days=20, used=0)]
    assert gone(kept_of(*found)) == {"k0", "k1"}


def test_what_was_not_used_for_long_goes_even_if_it_is_the_last():
    found = [a_trace("new", days=5), a_trace("old", days=9), a_trace("used", days=9, used=1)]
    assert gone(kept_of(*found), Policy(max_age=7 * DAY)) == {"old"}


def test_for_size_what_was_unused_longest_goes_first_and_no_more_than_needed():
    found = [a_trace(f"k{n}", node=f"m.py::t{n}", days=10 - n) for n in range(5)]
    assert gone(kept_of(*found), Policy(max_size=300)) == {"k0", "k1"}
    assert gone(kept_of(*found), Policy(max_size=500)) == set()


def test_a_value_that_several_records_share_goes_with_the_last_of_them():
    shared = [a_trace(f"k{n}", node=f"m.py::t{n}", days=9 - n, blob="v-x") for n in range(3)]
    other = a_trace("o", node="m.py::o", days=3)
    marked = mark(kept_of(*shared, other), Policy(max_size=150), (), NOW)
    assert {t.key for t in marked.traces} == {"k0", "k1", "k2"}
    assert marked.rows == {"v-x"}
    assert (marked.before, marked.after) == (200, 100)


def test_a_pack_stays_while_one_of_its_members_does():
    members = [
        a_trace(f"k{n}", days=10 - n, blob=f"pack-1@{100 * n}+100", node="m.py::a")
        for n in range(5)
    ]
    sizes = {"pack-1": 500}
    kept = Kept(members, sizes, {"pack-1": NOW - 2 * DAY})
    marked = mark(kept, Policy(), (), NOW)
    assert len(marked.traces) == 2
    assert marked.rows == set()
    assert mark(kept, Policy(max_age=DAY), (), NOW).rows == {"pack-1"}


def test_copies_of_files_stay_with_the_records_that_name_them():
    files = json.dumps([{"path": "out/a/x.txt", "digest": "abc"}])
    kept = kept_of(a_trace("k", files=files), **{"f-abc": 10, "f-old": 10})
    assert mark(kept, Policy(), (), NOW).rows == {"f-old"}


def test_what_is_needed_pinned_or_younger_than_an_hour_stays():
    found = [a_trace(f"k{n}", days=10 - n) for n in range(5)] + [a_trace("young", days=0.01)]
    policy = Policy(max_size=1, max_age=DAY, keep_last=1)
    assert gone(kept_of(*found), policy, needed={"k1"}) == {"k0", "k2", "k3", "k4"}


def test_what_keep_last_and_max_age_rule_out_goes_at_once():
    minute = 60 / DAY
    found = [a_trace(f"k{n}", days=(10 - n) * minute) for n in range(5)]
    kept = kept_of(*found)
    kept = Kept(found, kept.sizes, dict.fromkeys(kept.sizes, NOW - 60))
    assert gone(kept, Policy(keep_last=2)) == gone(kept, Policy(max_age=450)) == {"k0", "k1", "k2"}
    assert mark(kept, Policy(keep_last=2), (), NOW).rows == {"v-k0", "v-k1", "v-k2"}
    assert gone(kept, Policy(keep_last=2), needed={"k0"}) == {"k1", "k2"}
    assert gone(kept, Policy(keep_last=5, max_size=1)) == set()


def test_gc_frees_at_once_what_the_last_results_leave_out(project):
    project.write("flowkit.toml", "[cache]\nkeep_last = 1\n")
    project.write("m.py", "from flowkit import task\n@task\ndef t(n: int = 1): return 'x' * 100_000 + str(n)\n")
    for n in (1, 2, 3):
        project.run("m.py", params={"n": n})
    assert said(project, "gc").endswith(": 2 results\n")
    assert words_of(project.run("m.py", params={"n": 3})) == {"t": "cached"}
    assert words_of(project.run("m.py", params={"n": 1})) == {"t": "ran"}


def test_a_row_younger_than_an_hour_may_get_its_record_any_moment():
    kept = kept_of(**{"v-new": 10, "v-old": 10})
    kept = Kept((), kept.sizes, {"v-new": NOW - 60, "v-old": NOW - 7200})
    assert mark(kept, Policy(), (), NOW).rows == {"v-old"}


def test_a_record_whose_value_is_lost_goes_unless_it_is_young():
    lost, young = a_trace("lost"), a_trace("young", days=0.01)
    assert gone(Kept((lost, young), {})) == {"lost"}


def test_a_record_whose_value_is_lost_is_none_of_the_last_results():
    """Found by the machine: the young record that stayed took the place of the last good one."""
    good, lost = a_trace("good", days=2), a_trace("lost", days=0.01)
    kept = kept_of(good)
    assert gone(Kept((good, lost), kept.sizes), Policy(keep_last=1)) == set()


def test_rows_of_another_version_of_flowkit_stay():
    kept = replace_foreign(kept_of(**{"v-a": 10, "v-b": 10}), "v-a")
    assert mark(kept, Policy(), (), NOW).rows == {"v-b"}


def replace_foreign(kept, *rows):
    return replace(kept, foreign=frozenset(rows))


def test_a_hundred_thousand_records_are_marked_in_seconds():
    found = [
        a_trace(f"k{n}", node=f"m.py::t[{n}]", blob=f"pack-{n // 50}@{n}+100")
        for n in range(100_000)
    ]
    kept = kept_of(*found)
    started = time.perf_counter()
    marked = mark(kept, Policy(max_size=50_000), (), NOW)
    assert time.perf_counter() - started < 10
    assert marked.after <= 50_000


# --- gc: what is swept --------------------------------------------------------------------------


def test_a_fresh_store_is_left_alone(kept):
    before = rows_left(kept)
    assert "freed 0 B" in said(kept, "gc")
    assert rows_left(kept) == before


def test_gc_does_as_it_says_with_dry_run_and_the_next_run_mends_it(kept):
    kept.write("flowkit.toml", "[cache]\nmax_age = '1d'\n")
    make_old(kept)
    dry = said(kept, "gc", "--dry-run")
    assert "would free " in dry
    assert "m.py::large" in dry
    assert rows_left(kept) > 0
    wet = said(kept, "gc")
    assert wet == dry.replace("would free", "freed")
    assert rows_left(kept) == 0
    assert not list((kept.root / ".flowkit/results").glob("??/??/*.val"))
    words = words_of(kept.run("m.py"))
    assert words["doubled[0]"] in ("ran", "same")
    assert words_of(kept.run("m.py"))["doubled[0]"] == "cached"


def test_a_used_result_is_not_old(kept):
    kept.write("flowkit.toml", "[cache]\nmax_age = '1d'\n")
    make_old(kept)
    kept.run("m.py")
    said(kept, "gc")
    assert words_of(kept.run("m.py"))["text"] == "cached"


def test_gc_keeps_the_store_below_its_size(kept):
    kept.write("flowkit.toml", "[cache]\nmax_size = '100kB'\n")
    make_old(kept)
    records = traces(kept)  # whichever thread came first: this one was unused for longest
    records.commit([t._replace(used=t.used - 1) for t in records.everything() if t.node == "m.py::large"])
    records.close()
    out = said(kept, "gc")
    assert "m.py::large" in out
    assert words_of(kept.run("m.py::text"))["text"] == "cached"


def test_gc_says_when_it_cannot_get_below_the_size(kept):
    kept.write("flowkit.toml", "[cache]\nmax_size = 1\n")
    assert "over max_size: the rest is pinned" in said(kept, "gc")


def test_orphan_files_and_stale_locks_go_with_the_hour(kept):
    for path, age in (("results/aa/bb/" + "c" * 28 + ".val", 7200), ("locks/zz/zz9.lock", 7200)):
        file = kept.write(f".flowkit/{path}", "left behind")
        os.utime(file, (time.time() - age,) * 2)
    young = kept.write(".flowkit/results/aa/bb/" + "d" * 28 + ".val", "just being written")
    out = said(kept, "gc")
    assert "removed 1 files that belonged to nothing" in out
    assert "removed 1 locks" in out
    assert young.exists()


def test_what_kept_runs_need_stays(kept):
    kept.write("flowkit.toml", "plugins = ['keeper']\n[cache]\nmax_age = '1d'\n")
    records = traces(kept)
    key = records.last("m.py")["text"].key
    records.close()
    kept.write(
        "keeper.py",
        f"""
        from flowkit import hookimpl
        from flowkit.services import Needs

        class Kept:
            def keys(self): return {{{key!r}}}

        @hookimpl(trylast=True)
        def flowkit_configure(session): session.services[Needs] = Kept()
        """,
    )
    make_old(kept)
    folders = os.pathsep.join([str(kept.root), *path_of()])
    ended = cache(kept, "gc", env={"PYTHONPATH": folders})
    assert ended.exit_code == 0, ended
    kept.write("flowkit.toml", "")
    assert said(kept, "ls").splitlines()[-1] == "1 result"


def path_of():
    return [p for p in os.environ.get("PYTHONPATH", "").split(os.pathsep) if p]


def test_a_run_that_ends_a_tenth_over_the_size_sweeps_by_itself(kept):
    kept.write("flowkit.toml", "[cache]\nmax_size = '250kB'\n")
    make_old(kept)
    kept.run("m.py::large", params={"n": 2})  # 250 kB in all: not a tenth over
    assert len(traces(kept).everything()) >= 9
    kept.run("m.py::large", params={"n": 1})
    make_old(kept, days=1.0)
    kept.run("m.py::large", params={"n": 4})
    left = {t.key for t in traces(kept).everything()}
    assert traces(kept).last("m.py")["large"].key in left
    sizes = sum(t.size for t in traces(kept).everything() if t.node == "m.py::large")
    assert sizes <= 250_000


def test_a_store_that_cannot_be_swept_fails_no_run(kept, monkeypatch):
    kept.write("flowkit.toml", "[cache]\nmax_size = 1\n")

    def broken(*_):
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(gc, "mark", broken)
    assert kept.run("m.py::large", params={"n": 5}).ok


# --- clear --------------------------------------------------------------------------------------


def test_clear_asks_and_without_anybody_to_answer_does_nothing(kept):
    out = said(kept, "clear", code=4)
    assert "Nobody is there to answer" in out
    assert "Say --yes" in out
    assert words_of(kept.run("m.py"))["text"] == "cached"


def test_clear_removes_everything_of_its_own_and_nothing_else(kept):
    kept.write(".flowkit/history.note", "not ours")
    assert "removed all results" in said(kept, "clear", "--yes")
    left = {path.name for path in (kept.root / ".flowkit").iterdir()}
    assert "history.note" in left
    assert not left & {"results", "traces.db", "locks"}
    assert not any(name.startswith(".gone") for name in left)
    assert "no results are kept in .flowkit yet" in said(kept, "ls")
    assert words_of(kept.run("m.py"))["text"] == "ran"


def test_clear_of_a_task_leaves_the_others(kept):
    assert "removed 3 results of m.py::doubled" in said(kept, "clear", "m.py::doubled", "--yes")
    words = words_of(kept.run("m.py"))
    assert words["doubled[1]"] == "same"
    assert words["rows"] == "cached"


def test_clear_of_one_element_leaves_the_others(kept):
    said(kept, "clear", "m.py::doubled[1]", "--yes")
    words = words_of(kept.run("m.py"))
    assert (words["doubled[0]"], words["doubled[1]"]) == ("cached", "same")


# --- a store in trouble -------------------------------------------------------------------------


def test_a_damaged_database_is_said_and_can_be_cleared(kept):
    for suffix in ("-wal", "-shm"):
        (kept.root / f".flowkit/traces.db{suffix}").unlink(missing_ok=True)
    (kept.root / ".flowkit/traces.db").write_bytes(b"garbage" * 1000)
    for command in (["ls"], ["stat"], ["gc"], ["verify"], ["get", "m.py::text"]):
        out = said(kept, *command, code=1)
        assert "is damaged" in out
        assert "flowkit cache clear" in out
    said(kept, "clear", "--yes")
    assert words_of(kept.run("m.py"))["text"] == "ran"


def test_a_locked_database_is_said(kept):
    holder = sqlite3.connect(kept.root / ".flowkit/traces.db", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        assert "is locked by another process" in said(kept, "pin", "m.py::text", code=1)
        assert "m.py::text" in said(kept, "ls")  # readers wait for nobody
    finally:
        holder.close()


def test_a_store_of_a_later_version_is_not_touched(kept):
    with contextlib.closing(sqlite3.connect(kept.root / ".flowkit/traces.db")) as database, database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = rows_left(kept)
    make_rows_old = "UPDATE Cache SET store_time = 0"
    with contextlib.closing(sqlite3.connect(kept.root / ".flowkit/results/cache.db")) as database, database:
        database.execute(make_rows_old)
    database.close()
    for command in ("ls", "stat", "gc", "verify"):
        assert "written by another version of flowkit" in said(kept, command, code=1)
    assert rows_left(kept) == before


def test_a_setting_that_does_not_fit_is_an_error(project):
    for line, expected in (
        ("max_size = '10 apples'", "is no size; write it like '500MB', '10GB' or '1.5GiB'"),
        ("max_age = 'long'", "is no duration"),
        ("keep_last = 0", "a number of at least 1"),
    ):
        project.write("flowkit.toml", f"[cache]\n{line}\n")
        assert expected in said(project, "gc", code=4)


# --- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("10GB", 10 * 10**9),
        ("10 gb", 10 * 10**9),
        ("500k", 500_000),
        ("1.5GiB", 3 * 2**29),
        ("12", 12),
        (12, 12),
        (1e6, 10**6),
    ],
)
def test_sizes_are_read(written, expected):
    assert size(written) == expected


@pytest.mark.parametrize("written", ["", "GB", "10 apples", "-1", "1iB", 0, float("nan"), "0kB"])
def test_what_is_no_size_is_refused(written):
    with pytest.raises(ValueError):
        size(written)


@pytest.mark.parametrize("written", [None, True, [1]])
def test_what_is_neither_number_nor_text_is_refused(written):
    with pytest.raises(TypeError):
        size(written)


def test_sizes_are_shown_as_people_read_them():
    assert [shown(n) for n in (0, 999, 1000, 15_500, 1.2e9)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "16 kB",
        "1.2 GB",
    ]
