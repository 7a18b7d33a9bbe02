"""``flowkit test``: what it prints of a flow, and with which exit code it ends."""

import base64
import json
import zlib

import pytest

from flowkit.errors import OptionError
from flowkit.testing.faultplans import Plan, faults
from flowkit.testing.properties import PROPERTIES
from flowkit.testing.tokens import read_token

CLASSES = """
from dataclasses import dataclass
from enum import Enum
from pydantic import BaseModel
from flowkit import task

class Size(Enum):
    SMALL = 1
    LARGE = 2

@dataclass(frozen=True)
class Box:
    size: Size = Size.SMALL

class Cfg(BaseModel):
    box: Box = Box()
    n: int = 2
"""


def checked(project, text, *words, examples=3):
    """Write a flow, check it, and return how that ended."""
    project.write("m.py", text)
    return project.flowkit("test", "m.py", "--examples", str(examples), *words)


def test_parameters_of_a_flows_own_classes_are_drawn_and_given(project):
    ended = checked(
        project,
        CLASSES
        + """
@task
def keys(cfg: Cfg, many: list[Cfg] = [Cfg()], box: Box | None = None, size: Size = Size.LARGE) -> int:
    assert all(isinstance(c, Cfg) and isinstance(c.box, Box) and isinstance(c.box.size, Size) for c in [cfg, *many])
    assert isinstance(size, Size) and (box is None or isinstance(box, Box))
    return cfg.n
""",
        "--only", "cache_transparent", "--only", "deterministic", "--only", "failure_isolation",
    )  # fmt: skip
    assert ended.exit_code == 0, ended.out + ended.err
    assert "3 hold" in ended.out


def test_a_case_with_a_value_of_a_flows_own_class_is_replayed(project):
    ended = checked(
        project,
        CLASSES + "import uuid\n\n@task\ndef keys(cfg: Cfg):\n    return uuid.uuid4()\n",
        "--only", "deterministic",
    )  # fmt: skip
    assert ended.exit_code == 1, ended.out + ended.err
    word = next(line for line in ended.out.splitlines() if line.startswith("replay: ")).split()[-1]
    again = project.flowkit("test", "m.py", "--replay", word)
    assert (again.exit_code, again.err) == (1, "")
    assert "first difference: `keys`" in again.out
    other = project.write("n.py", "from flowkit import task\n@task\ndef keys(n: int = 1):\n    return n\n")
    wrong = project.flowkit("test", other.name, "--replay", word)
    assert wrong.exit_code == 4


def test_a_property_that_fails_in_two_ways_is_told_as_one_and_the_others_are_checked(project):
    ended = checked(
        project,
        "from flowkit import task\n@task\ndef xs():\n    return [3, 1, 2]\n"
        "@task\ndef srt(xs):\n    xs.sort()\n    return xs[0]\n@task\ndef first(xs):\n    return xs[0]\n",
        examples=5,
    )
    assert (ended.exit_code, ended.err) == (1, "")
    lines = [line.split()[:2] for line in ended.out.splitlines() if line.startswith("  ")]
    assert {name for name, *_ in lines} >= set(PROPERTIES)
    assert ["no_input_mutation", "FAILED"] in lines


def test_a_property_that_holds_when_it_is_looked_at_again_is_told_all_the_same(project):
    ended = checked(
        project,
        "import os\nfrom flowkit import task\nos.environ['N'] = str(int(os.environ.get('N', 0)) + 1)\n"
        "@task\ndef a():\n    return int(os.environ['N']) == 7\n",
        "--only", "deterministic", examples=20,
    )  # fmt: skip
    assert (ended.exit_code, ended.err) == (1, "")
    assert "first difference: `a`" in ended.out


def test_what_could_not_be_checked_does_not_hide_the_rest(project):
    ended = checked(project, "from flowkit import task\n@task\ndef a(n: int = 1):\n    return n\nassert __file__.endswith('/m.py')\nassert 'mirror-' not in __file__\n")
    assert ended.exit_code == 4
    assert "edit_precision       error" in ended.out
    assert "error: " in ended.out
    assert "12 hold, 1 could not be checked, 1 had nothing to check" in ended.out


SECRET = """
import uuid
from pydantic import SecretStr
from flowkit import task

@task
def tok(pw: SecretStr = SecretStr("hunter2222")) -> int:
    raise ValueError(pw.get_secret_value())

@task
def one():
    return uuid.uuid4().hex
"""


def test_no_secret_is_in_the_report(project):
    ended = checked(project, SECRET, "--only", "deterministic")
    assert ended.exit_code == 1
    assert "hunter2222" not in ended.out + ended.err
    assert "tok ends: error: ValueError('**********')" in ended.out
    for way in ("-P", "-O"):
        ended = checked(project, SECRET, "--only", "deterministic", way, "pw=swordfish")
        line = next(line for line in ended.out.splitlines() if line.startswith("replay: "))
        assert "swordfish" not in ended.out + ended.err
        assert f" {way} 'pw=**********' --replay " in line
        word = line.split()[-1]
        assert "swordfish" not in repr(read_token(word))
        again = project.flowkit("test", "m.py", way, "pw=swordfish", "--replay", word)
        assert again.exit_code == 1
        assert "swordfish" not in again.out


def test_a_flow_that_is_no_file_has_nothing_to_edit(project):
    project.write("pk/__init__.py")
    project.write("pk/sub/__init__.py")
    project.write("pk/sub/m.py", "from flowkit import task\n@task\ndef a(n: int = 1):\n    return n\n")
    for target in ("pk.sub.m", "pk"):
        ended = project.flowkit("test", target, "--examples", "2", "--only", "edit_precision", "--only", "deterministic")
        assert (ended.exit_code, ended.err) == (0, "")
        assert "nothing to check: only a flow in a file can be edited" in ended.out


def test_what_is_typed_wrongly_is_said_in_the_users_words(project):
    text = "from flowkit import task\n@task\ndef a(n: int = 1):\n    return n\n"
    for words, said in [
        (("-P", "zz=1"), "-P zz=1: the flow has no parameter 'zz'"),
        (("-P", "n=x"), "from -P n=x; wanted int"),
        (("--examples", "0"), "--examples"),
        (("--only", "nope"), "Name one of these."),
    ]:
        ended = checked(project, text, *words)
        assert (ended.exit_code, "Traceback" in ended.err) == (4, False)
        assert said in ended.err
    assert checked(project, text, "-O", "n=2", "-P", "n=3", "--only", "roundtrip").exit_code == 0


def test_a_fault_of_no_kind_says_which_there_are():
    for wrong in (lambda: faults.store_error("get"), lambda: faults.crash("nowhere"), lambda: Plan.parse("a=explode")):
        with pytest.raises(OptionError) as caught:
            wrong()
        assert caught.value.remedy in ("Name one of these.", "Did you mean 'put'?")
        assert "-p" not in str(caught.value)


def test_that_no_task_ever_ended_well_is_said(project):
    ended = checked(project, "from flowkit import task\n@task\ndef a(n: int = 1):\n    1 / 0\n", "--only", "roundtrip", "--only", "deterministic")
    assert "2 hold\nno task ever ended well" in ended.out
    assert "no task" not in checked(project, "from flowkit import task\n@task\ndef a():\n    return 1\n", "--only", "roundtrip").out


def test_the_order_of_a_set_is_found_by_other_processes_and_replayed(project):
    text = "from flowkit import task\n@task\ndef uniq(words: list[str]) -> list[str]:\n    print(input)\n    return {}(set(words))\n"
    ended = checked(project, text.format("list"), "--only", "deterministic", examples=50)
    assert (ended.exit_code, ended.err) == (1, "")
    assert "runs in two processes differ" in ended.out
    assert "first difference: `uniq`\n  [" in ended.out
    word = next(line for line in ended.out.splitlines() if line.startswith("replay: ")).split()[-1]
    assert project.flowkit("test", "m.py", "--replay", word).exit_code == 1
    assert checked(project, text.format("sorted"), "--only", "deterministic").exit_code == 0


def test_that_other_processes_end_is_no_silence(project):
    text = "import os\nfrom flowkit import task\nif 'PYTHONHASHSEED' in os.environ: os._exit(1)\n@task\ndef a():\n    return 1\n"
    ended = checked(project, text, "--only", "deterministic")
    assert ended.exit_code == 0
    assert "cases that could not be run in other processes: 3;" in ended.out


def test_other_processes_have_the_same_stand_ins_and_classes(project):
    project.write("fakes.py", "def raw():\n    return list('abcdefgh')\n")
    text = CLASSES + "@task(effect=True)\ndef raw():\n    return 1 / 0\n@task\ndef some(raw, cfg: Cfg):\n    return list(set(raw)) if cfg.n > 2 else []\n"
    ended = checked(project, text, "--only", "deterministic", "-O", "raw=fakes.py::raw", examples=30)
    assert ended.exit_code == 1
    assert "runs in two processes differ" in ended.out


def test_a_case_of_two_sets_of_parameters_is_replayed_whatever_their_types_and_without_the_secrets(project):
    text = CLASSES + "import uuid\nfrom datetime import date\nfrom pydantic import SecretStr\n"
    text += "@task\ndef keys(pw: SecretStr, cfg: Cfg, day: date):\n    return uuid.uuid4()\n"
    ended = checked(project, text, "--only", "key_injective", "-P", "pw=swordfish")
    assert (ended.exit_code, ended.err) == (1, "")
    word = next(line for line in ended.out.splitlines() if line.startswith("replay: ")).split()[-1]
    again = project.flowkit("test", "m.py", "-P", "pw=swordfish", "--replay", word)
    assert (again.exit_code, again.err) == (1, "")
    assert "swordfish" not in ended.out + again.out
    document = json.loads(zlib.decompress(base64.urlsafe_b64decode(word + "=" * (-len(word) % 4)), -15))
    assert document[-1]
    assert not any(b"swordfish" in base64.b64decode(value) for value in document[-1].values())
