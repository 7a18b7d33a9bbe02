"""A stored value for people: on the screen, or in a file whose suffix says how."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flowkit.errors import OptionError, a_kind, did_you_mean

#: Suffix → how a value gets into such a file; named in messages.
SUFFIXES = (".pkl", ".json", ".csv", ".parquet", ".npy")


class Unfit(Exception):
    """A value that does not go into a file of this kind: the message says why."""


def text(value: object) -> str | bytes:
    """Return what the screen shows of a value: text and bytes as they are, the rest as Python shows it."""
    if isinstance(value, (str, bytes)):
        return value
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value)
    if isinstance(value, (Path, int, float)) or value is None:
        return str(value)
    import pprint

    return pprint.pformat(value, width=100, sort_dicts=False)


def save(value: object, file: Path) -> None:
    """Write a value to a file, whole or not at all.

    Bytes and text are written as they are, and of a path the file that it names is copied, unless
    the suffix is ``.pkl`` or (for what is not bytes or text) one of the others.

    Raises:
        OptionError: The suffix is unknown, or the value does not fit it; the folder is not there.
    """
    suffix = file.suffix.lower()
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        try:
            _write(value, draft, suffix)
            draft.replace(file)
        finally:
            draft.unlink(missing_ok=True)
    except Unfit as problem:
        raise OptionError(
            f"-o {file}: {problem}",
            remedy="Any value goes into a .pkl file; text and bytes go into any.",
        ) from None
    except OSError as error:
        raise OptionError(
            f"-o {file}: cannot be written: {error.strerror or error}",
            remedy="Name a file in a folder that is there.",
        ) from error


def _write(value: object, draft: Path, suffix: str) -> None:
    if suffix == ".pkl":
        import pickle

        draft.write_bytes(pickle.dumps(value, protocol=5))
    elif isinstance(value, (bytes, bytearray, memoryview)):
        draft.write_bytes(value)
    elif isinstance(value, str):
        draft.write_text(value, encoding="utf-8")
    elif suffix in _WRITERS:
        _WRITERS[suffix](value, draft)
    elif isinstance(value, Path) and value.is_file():
        draft.write_bytes(value.read_bytes())
    else:
        near = did_you_mean(suffix, SUFFIXES, f"Known are {', '.join(SUFFIXES)}.")
        raise Unfit(
            f"{a_kind(value)} does not go into a file of the kind {suffix or 'without suffix'!s}. {near}"
        )


def _json(value: object, draft: Path) -> None:
    try:
        written = json.dumps(value, default=_plain, indent=2, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise Unfit(f"{a_kind(value)} does not go into JSON: {error}") from None
    draft.write_text(written + "\n", encoding="utf-8", errors="backslashreplace")


def _plain(value: Any) -> object:
    """Return what stands in JSON for a value that JSON does not know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):  # pydantic
        return value.model_dump(mode="json")
    if hasattr(value, "to_dicts"):  # polars
        return value.to_dicts()
    if hasattr(value, "to_pylist"):  # arrow
        return value.to_pylist()
    if hasattr(value, "to_json") and hasattr(value, "index"):  # pandas
        tabular = {"orient": "records"} if hasattr(value, "columns") else {}
        return json.loads(value.to_json(date_format="iso", **tabular))
    if hasattr(value, "tolist"):  # numpy, its numbers included
        return value.tolist()
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=repr)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"it holds {a_kind(value)}")


def _csv(value: Any, draft: Path) -> None:
    if hasattr(value, "write_csv"):
        value.write_csv(draft)
    elif hasattr(value, "to_csv"):
        plain = type(getattr(value, "index", None)).__name__ == "RangeIndex"
        value.to_csv(draft, index=not plain)
    elif hasattr(value, "to_pandas"):
        value.to_pandas().to_csv(draft, index=False)
    else:
        _csv_rows(value.tolist() if hasattr(value, "tolist") else value, draft)


def _csv_rows(rows: object, draft: Path) -> None:
    import csv

    if isinstance(rows, (str, bytes, Mapping)) or not isinstance(rows, Sequence):
        raise Unfit(f"{a_kind(rows)} is no table")
    plain: list[Any] = [_plain(row) if dataclasses.is_dataclass(row) else row for row in rows]
    with draft.open("w", newline="", encoding="utf-8") as file:
        if plain and all(isinstance(row, Mapping) for row in plain):
            names = dict.fromkeys(name for row in plain for name in row)
            writer = csv.DictWriter(file, list(names))
            writer.writeheader()
            writer.writerows(plain)
        elif all(isinstance(row, Sequence) and not isinstance(row, (str, bytes)) for row in plain):
            csv.writer(file).writerows(plain)
        else:
            csv.writer(file).writerows([row] for row in plain)


def _parquet(value: Any, draft: Path) -> None:
    try:
        if hasattr(value, "write_parquet"):
            value.write_parquet(draft)
        elif hasattr(value, "to_parquet"):
            value.to_parquet(draft)
        elif hasattr(value, "to_pandas"):
            import pyarrow.parquet

            pyarrow.parquet.write_table(value, draft)
        else:
            raise Unfit(f"{a_kind(value)} is no table")
    except ImportError as error:
        raise Unfit(f"parquet needs a package that is not installed: {error}") from None


def _npy(value: Any, draft: Path) -> None:
    try:
        import numpy as np
    except ImportError:
        raise Unfit(".npy needs numpy, which is not installed") from None
    try:
        array = np.asarray(value)
        if array.dtype.hasobject:
            raise ValueError("its elements are Python objects")
    except (ValueError, TypeError) as error:
        raise Unfit(f"{a_kind(value)} is no array: {error}") from None
    with draft.open("wb") as file:
        np.save(file, array, allow_pickle=False)


_WRITERS: dict[str, Callable[[Any, Path], None]] = {
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
    ".npy": _npy,
}
