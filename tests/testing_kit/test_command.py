"""``flowkit test``: what it prints of a flow, and with which exit code it ends."""

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
        CLASSES + "import uuid\n\n@task\ndef keys(cfg: Cfg):\n    return uuid.uuid4() if cfg.n > 2 else cfg.n\n",
        "--only", "deterministic",
        examples=20,
    )  # fmt: skip
    assert ended.exit_code == 1, ended.out + ended.err
    word = next(line for line in ended.out.splitlines() if line.startswith("replay: ")).split()[-1]
    again = project.flowkit("test", "m.py", "--replay", word)
    assert (again.exit_code, again.err) == (1, "")
    assert "first difference: `keys`" in again.out
    other = project.write("n.py", "from flowkit import task\n@task\ndef keys(n: int = 1):\n    return n\n")
    wrong = project.flowkit("test", other.name, "--replay", word)
    assert wrong.exit_code == 4
