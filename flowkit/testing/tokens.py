"""A case in one word, and back: what the line that replays a failure holds."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from typing import Any

from flowkit.errors import OptionError
from flowkit.renewing import renewed
from flowkit.testing.faultplans import Plan
from flowkit.testing.sandbox import Case


def token(name: str, case: Case) -> str:
    """Return a property's name and a case in one word of URL-safe characters."""
    params: dict[str, Any] = {}
    pickled: dict[str, str] = {}
    for key, value in case.params.items():
        if _is_json(value):
            params[key] = value
        else:
            pickled[key] = _pickled(value)
    extra = case.extra
    if not _is_json(extra):
        extra, pickled[_EXTRA] = None, _pickled(extra)
    document = [name, params, str(case.faults), list(case.schedule), case.workers, extra, pickled]
    while document and not document[-1]:
        document.pop()
    text = json.dumps(document, separators=(",", ":"))
    return base64.urlsafe_b64encode(zlib.compress(text.encode(), 9, -15)).decode().rstrip("=")


def _pickled(value: object) -> str:
    return base64.b64encode(pickle.dumps(renewed(value))).decode()


def _is_json(value: object) -> bool:
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def read_token(text: str) -> tuple[str, Case]:
    """Return the property's name and the case; the flow was looked at before, so that its classes are there.

    Raises:
        OptionError: It is no token.
    """
    try:
        packed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        document = json.loads(zlib.decompress(packed, -15))
        document += _EMPTY[len(document) :]
        name, params, faults, schedule, workers, extra, pickled = document
        values = {k: pickle.loads(base64.b64decode(v)) for k, v in pickled.items()}  # noqa: S301 - typed by the user
    except (ValueError, TypeError, zlib.error, pickle.UnpicklingError, ImportError, AttributeError) as error:
        raise OptionError(f"--replay {text}: no token", remedy="Copy the whole word from the failure.") from error
    extra = values.pop(_EXTRA, extra)
    return name, Case({**params, **values}, Plan.parse(faults), tuple(schedule), workers, extra)


_EXTRA = ""  # no parameter is called so
_EMPTY: list[Any] = ["", {}, "", [], 4, None, {}]
