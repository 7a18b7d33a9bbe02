"""Puts the facts of a run into the page: template, style and script become one text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any


def page(facts: Mapping[str, Any]) -> str:
    """Return the page of a run.

    Args:
        facts: As ``data.collect`` returns them; the script of the page reads them as JSON.
    """
    run = facts["run"]
    return (
        _file("page.html")
        .replace("{{title}}", escape(f"{run['status']} · {run['flow']} · {run['id']}"))
        .replace("{{style}}", _file("page.css"))
        .replace("{{script}}", "\n".join(_file(name) for name in ("kit.js", "graph.js", "timeline.js", "page.js")))
        .replace("{{data}}", as_data(facts))
    )


def as_data(facts: Mapping[str, Any]) -> str:
    """Return JSON that nothing in a page can take for markup."""
    text = json.dumps(facts, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _file(name: str) -> str:
    return (resources.files("flowkit_plugins.html") / name).read_text(encoding="utf-8")
