"""The root folder, and what is set there: ``[tool.flowkit]``, ``flowkit.toml``, environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from flowkit.errors import OptionError, TargetError, a_kind
from flowkit.hookspecs import Option

PREFIX = "FLOWKIT_"


def whole_number(text: str) -> object:
    """Return the number that a text is, else the text: for ``Option.read``."""
    return int(text) if text.strip().isdecimal() else text


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"a number of at least 1, not {value!r}")
    return value


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text, not {value!r}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise TypeError(f"a list of names, not {value!r}")
    return tuple(value)


#: Settings of the core; plugins declare theirs through ``flowkit_settings``.
CORE = (
    Option(name="executor", type="text", help="Where calls run: inline, threads, …", default="threads", convert=_text),
    Option(name="n", type="a number", help="How many nodes run at once.", convert=_count, read=whole_number),
    Option(
        name="plugins", type="a list of names", help="Plugins to load, as -p does.", default=(), convert=_texts,
        read=_split,
    ),
    Option(name="defaults.*", type="task options", help="Options of every task of the project."),
)


class Settings:
    """What the project's configuration file and the environment say.

    Attributes:
        root: The root folder.
        file: The file that was read, or None.
        raw: The ``[tool.flowkit]`` table as it stands there.
    """

    def __init__(self, root: Path, file: Path | None, raw: Mapping[str, Any]) -> None:
        self.root = root
        self.file = file
        self.raw = raw
        self._values: dict[str, object] = {}
        self._places: dict[str, str] = {}

    def __getitem__(self, name: str) -> Any:
        """Return a setting by its dotted name: ``settings["cache.dir"]``."""
        return self._values[name]

    def where(self, name: str) -> str:
        """Return where a setting was said, or would be."""
        return self._places.get(name, self.place)

    def section(self, name: str) -> dict[str, object]:
        """Return a section whose keys the user chooses (declared as ``name.*``)."""
        found: object = self._values[f"{name}.*"]
        return dict(found) if isinstance(found, Mapping) else {}

    @property
    def plugins(self) -> dict[str, str]:
        """Plugin → where it is named: needed before the settings can be checked, since those bring some."""
        found, place = self._said("plugins", self.raw.get("plugins"), _split)
        try:
            return dict.fromkeys(_texts(found) if found is not None else (), place)
        except TypeError as error:
            raise OptionError(f"{place}: setting 'plugins' wants {error}") from error

    def _said(self, name: str, value: Any, read: Callable[[str], object]) -> tuple[Any, str]:
        """Return what is said of a setting, which in the file is ``value``, and where: the environment comes first."""
        variable = PREFIX + name.replace(".", "_").upper()
        text = os.environ.get(variable)
        return (read(text), variable) if text else (value, self.place)

    @property
    def place(self) -> str:
        """How errors call the file."""
        return str(self.file.name if self.file else "the settings")

    def check(self, options: Sequence[Option]) -> list[OptionError]:
        """Read every declared setting; return what is unknown or does not fit."""
        errors: list[OptionError] = []
        declared = {option.name: option for option in (*CORE, *options)}
        flat = self._flat(declared)
        for name, option in declared.items():
            if name.endswith(".*"):
                self._values[name] = flat.pop(name, {})
                continue
            value, where = self._said(name, flat.pop(name, None), option.read)
            self._places[name] = where
            if value is None:
                self._values[name] = option.default
                continue
            try:
                self._values[name] = option.convert(value)
            except (TypeError, ValueError) as error:
                self._values[name] = option.default
                errors.append(
                    OptionError(f"{where}: setting {name!r} wants {option.type}: {error}", known=option.help)
                )
        errors += [OptionError.unknown("setting", name, self.place, declared) for name in flat]
        return errors

    def _flat(self, declared: Mapping[str, Option]) -> dict[str, Any]:
        flat: dict[str, Any] = {}

        def walk(table: Mapping[str, Any], prefix: str) -> None:
            for key, value in table.items():
                name = f"{prefix}{key}"
                if f"{name}.*" in declared and isinstance(value, Mapping):
                    flat[f"{name}.*"] = value
                elif isinstance(value, Mapping) and name not in declared:
                    walk(value, f"{name}.")
                else:
                    flat[name] = value

        walk(self.raw, "")
        return flat


def here() -> Path:
    """Return the current folder.

    Raises:
        TargetError: It is gone.
    """
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise TargetError("the current folder is gone", remedy="Change to one that exists.") from None


def folders_of(modules: Iterable[Path | str | ModuleType]) -> list[Path]:
    """Return the folder that each of the modules is in that shall be run.

    Raises:
        TargetError: The current folder is gone.
    """
    current, found = here(), []
    for module in modules:
        if isinstance(module, Path):
            path = Path(os.path.realpath(module))  # resolve() raises where a link leads to itself
            found.append(path if path.is_dir() else path.parent)
        elif isinstance(module, ModuleType) and getattr(module, "__file__", None):
            found.append(Path(str(module.__file__)).resolve().parent)
        else:
            found.append(current)
    return found


def find(folders: Sequence[Path]) -> Settings:
    """Return the settings that hold for targets in ``folders``.

    The root is the nearest folder above them all with a ``pyproject.toml`` that has
    ``[tool.flowkit]``; else the nearest with a ``flowkit.toml`` or ``.git``; else their common folder.

    Raises:
        OptionError: The file is not TOML.
    """
    common = Path(os.path.commonpath([str(f) for f in folders])) if folders else Path.cwd()
    second: Path | None = None
    for folder in (common, *common.parents):
        project = folder / "pyproject.toml"
        if project.is_file():
            table = _table(project)
            if table is not None:
                return Settings(folder, project, table)
        if second is None and ((folder / "flowkit.toml").is_file() or (folder / ".git").exists()):
            second = folder
    if second is not None:
        own = second / "flowkit.toml"
        if own.is_file():
            return Settings(second, own, _table(own) or {})
        return Settings(second, None, {})
    return Settings(common, None, {})


def _table(file: Path) -> dict[str, Any] | None:
    text = file.read_bytes()
    own = file.name == "flowkit.toml"
    if not own and (b"flowkit" not in text or b"tool" not in text):
        return None
    import tomllib  # 6 ms: only where there is something to read

    try:
        read = tomllib.loads(text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OptionError(f"{file}: not a TOML file: {error}", remedy="Mend that line.") from error
    tool = read.get("tool")
    found = tool.get("flowkit") if isinstance(tool, dict) else None
    if own:
        if found is not None:
            raise OptionError(
                f"{file.name}: settings stand at its top, not in [tool.flowkit]",
                remedy="Take `tool.flowkit` out of the headers: [tool.flowkit.cache] is [cache] here.",
            )
        return read
    if found is not None and not isinstance(found, dict):
        raise OptionError(f"{file.name}: tool.flowkit is {a_kind(found)}, no table", remedy="Write [tool.flowkit].")
    return found
