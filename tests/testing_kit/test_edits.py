"""Edits of sources, and ``edit_precision``: no edit makes wrong code of right code, and right code gives no alarm."""

import pytest

from flowkit.errors import FlowError
from flowkit.testing import edits, flow, properties
from flowkit.testing.checks import Violation
from flowkit.testing.sandbox import Case

ODD = '''from functools import wraps
from flowkit import task

def plus(f):
    @wraps(f)
    def made(*a, **k):
        return f(*a, **k) + 7
    return made

def tabs(x):
\tif x:
\t\treturn x + 1
\treturn 2

def split(x=
  "y"): return len(x)

def wide(x): return len(f"{x + 1:>10}" "  e") + 5

@task
@plus
def a(x: int = 3):
    return tabs(x) + split() + wide(x)
'''


def every_edit(subject, params=None):
    """Check each edit of a flow; return what each was."""
    found = subject.all_edits
    for number in range(len(found)):
        properties.checked(properties.edit_precision, subject, Case(params or {}, extra=number))
    return [edit.what for edit in found if edit.parses]


def test_decorators_tabs_and_lines_that_end_anywhere_are_edited_rightly():
    found = every_edit(flow(ODD))
    assert {"a docstring for plus", "a docstring for tabs", "1 → 2 in tabs, line 12", "5 → 6 in wide, line 18"} <= set(found)
    assert "a docstring for split" not in found


@pytest.mark.parametrize(
    ("head", "encoding"), [("", "utf-8-sig"), ("# -*- coding: latin-1 -*-\n", "latin-1"), ("\f\n", "utf-8")]
)
def test_a_source_is_read_and_written_in_its_own_encoding(tmp_path, head, encoding):
    text = head + "from flowkit import task\n\n@task\ndef a(x: int = 3):\n    n = x + 3\n    return 'é', n\n"
    (tmp_path / "coded.py").write_bytes(text.encode(encoding))
    assert len(every_edit(flow(tmp_path / "coded.py"))) == 4


def test_an_edit_that_is_no_python_is_never_tried():
    wrong, right = (edits.Edit("m.py", edits.NEUTRAL, "", text) for text in ("def f(:", "f = 1"))
    assert edits.from_the(0, [wrong, right]) is right
    assert edits.from_the(1, [right, wrong]) is right


def test_a_parameter_without_a_default_is_drawn(project):
    project.write("m.py", "from flowkit import task\n@task\ndef keys(cfg: int):\n    return cfg + 1\n")
    ended = project.flowkit("test", "m.py", "--only", "edit_precision", "--examples", "5")
    assert (ended.exit_code, ended.err) == (0, ""), ended.out


def test_what_is_wrong_with_the_copy_is_told_of_the_users_file(project):
    project.write("lacking.py", "from flowkit import task\n@task\ndef keys(cfg: int):\n    return cfg + 1\n")
    with pytest.raises(FlowError) as caught:
        properties.checked(properties.edit_precision, flow("lacking.py"), Case({}, extra=0))
    assert "(lacking.py:2)" in str(caught.value)


def test_tasks_that_a_function_makes_use_its_code():
    every_edit(flow("""
from flowkit import task

def made(n):
    k = n + 3
    unused = 8

    @task(name=f"t{n}")
    def t(x: int = 1):
        return x * n + k + 5

    return t

a, b = made(0), made(1)

@task(name="other")
def named():
    return 4

@task
def below(other, t0):
    return other > 0 and t0 > 0
"""))


def test_what_only_seems_to_use_a_function_need_not_run_again():
    every_edit(flow("""
from flowkit import task

def times():
    return 2

def count():
    return 3 if True else 4

COUNT = count()

@task(retries=times())
def a(word: str = "x"):
    times = 1
    return word.count("x") + times

@task
def b(n: int = count()):
    return n + COUNT
"""))


def test_a_function_that_is_looked_up_by_a_made_name_may_be_any_of_its_module(project):
    project.write("looked.py", "def doit(x):\n    return x + 7\n\ndef other(x):\n    return x + 9\n")
    text = """
        import looked
        from flowkit import task

        @task
        def a(x: int = 3):
            return getattr(looked, "do" + "it")(x)

        @task
        def b(x: int = 3):
            return looked.other(x)
    """
    subject = flow(project.write("looking.py", text))
    every_edit(subject)
    assert edits.users(subject.sandbox.file, "doit") == {"doit", "looked.*", "a"}
    assert edits.users(subject.sandbox.file, "other", surely=True) == {"other", "b"}


def test_an_edit_that_makes_the_flow_wrong_says_nothing():
    every_edit(flow("from flowkit import task\n\ndef port():\n    return 80\n\nassert port() == 80\n\n@task\ndef a():\n    return 1\n"))


def test_a_neutral_edit_that_runs_something_again_is_found():
    subject = flow("from pathlib import Path\nfrom flowkit import task\n@task\ndef a(me: Path = Path(__file__)):\n    return len(me.read_text())\n")
    with pytest.raises(Violation, match="ran again"):
        every_edit(subject)
