"""Reuse: a task runs again only if something it depends on changed, and the reason is told.

Adds the task options ``cache`` and ``version``, the flags ``--no-cache`` and ``--refresh``, and
``flowkit cache``. Results are kept in ``.flowkit`` below the root: values in ``results`` (diskcache),
what is known of them in ``traces.db``. Speaks to flowkit through ``flowkit_node_lookup`` and
``flowkit_attempt_keep``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowkit.durations import seconds
from flowkit.hookspecs import Flag, Option, hookimpl
from flowkit.services import Before, Remembered, Results
from flowkit.settings import whole_number
from flowkit_plugins.cache.policy import ON, Cache, read
from flowkit_plugins.cache.sizes import size

if TYPE_CHECKING:
    from types import ModuleType

    import click

    from flowkit.errors import UsageError
    from flowkit.graph import Graph
    from flowkit.session import Session

__all__ = ["Cache"]


def _version(value: Any) -> object:
    if isinstance(value, (int, str)) and not isinstance(value, bool):
        return value
    raise TypeError(f"a whole number or text, not {value!r}")


def _one_of(*words: str) -> Any:
    def convert(value: Any) -> object:
        if value not in words:
            raise ValueError(f"one of {', '.join(words)}, not {value!r}")
        return value

    return convert


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError(f"true or false, not {value!r}")


def _read_switch(text: str) -> object:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.lower(), text)


def _folder(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError(f"the path of a folder, not {value!r}")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"a number of at least 1, not {value!r}")
    return value


@hookimpl
def flowkit_task_options() -> Sequence[Option]:
    """Declare ``cache`` and ``version``."""
    return [
        Option(
            name="cache",
            type="True, False, a duration, a mapping, or a Cache",
            help="Whether, and for how long, the result is reused.",
            default=ON,
            convert=read,
        ),
        Option(
            name="version", type="a whole number or text", help="A change of it starts afresh.", convert=_version
        ),
    ]


@hookimpl
def flowkit_run_options() -> Sequence[Flag]:
    """Declare ``--no-cache`` and ``--refresh``."""
    return [
        Flag(name="--no-cache", type=bool, default=False, help="Reuse nothing, and keep nothing."),
        Flag(
            name="--refresh",
            multiple=True,
            optional="",
            metavar="[TASK…]",
            help="Run these tasks again (all targets, if none is named), and keep what they give.",
        ),
    ]


@hookimpl
def flowkit_settings() -> Sequence[Option]:
    """Declare ``[tool.flowkit.cache]``."""
    return [
        Option(
            name="cache.dir", type="a folder", help="Where results are kept; .flowkit below the root.", convert=_folder
        ),
        Option(
            name="cache.environment",
            type="true or false",
            help="Whether installed versions count for reuse.",
            default=False,
            convert=_switch,
            read=_read_switch,
        ),
        Option(
            name="cache.on_mismatch",
            type="warn or error",
            help="What a stored value with a wrong signature is.",
            default="warn",
            convert=_one_of("warn", "error"),
        ),
        Option(
            name="cache.compression",
            type="zlib, zstd or lz4",
            help="How values are compressed; not at all by default.",
            convert=_one_of("zlib", "zstd", "lz4"),
        ),
        Option(
            name="cache.max_size",
            type="a size: 10GB",
            help="gc keeps the store below this; so does a run that ends a tenth above it.",
            convert=size,
        ),
        Option(
            name="cache.max_age",
            type="a duration: 30d",
            help="gc drops what was not used for this long.",
            convert=seconds,
        ),
        Option(
            name="cache.keep_last",
            type="a number of at least 1",
            help="gc keeps so many results of each node.",
            default=3,
            convert=_count,
            read=whole_number,
        ),
    ]


@hookimpl
def flowkit_collected(graph: Graph) -> Sequence[UsageError]:
    """Refuse ``key`` and ``valid`` that cannot be called."""
    own = [t for t in graph.tasks if isinstance(c := t.options.get("cache"), Cache) and (c.key or c.valid)]
    if not own:
        return ()
    from flowkit_plugins.cache.asking import misfits

    return [error for task in own for error in misfits(task)]


def folder_of(session: Session) -> Path:
    """Return where a session's results are kept."""
    written = session.settings["cache.dir"]
    return (session.root / str(written)) if written else session.root / ".flowkit"


@hookimpl
def flowkit_configure(session: Session) -> None:
    """Register what answers look-ups in this session."""
    from flowkit_plugins.cache.ahead import Ahead
    from flowkit_plugins.cache.continued import Stored
    from flowkit_plugins.cache.nested import Off
    from flowkit_plugins.cache.reuse import Reuse
    from flowkit_plugins.cache.storage import Storage

    if session.flags.get("no_cache"):
        session.plugins.register(Off(), "cache:off")
        return
    storage = session.services.get(Storage) or Storage(
        folder_of(session),
        on_mismatch=session.settings["cache.on_mismatch"],
        compression=session.settings["cache.compression"],
    )
    refresh = session.flags.get("refresh")
    reuse = Ahead(
        storage,
        session.root,
        session.clock,
        refresh=frozenset(name for name in refresh if name) if refresh else None,
        with_environment=session.settings["cache.environment"],
        digest_hook=session.plugins.caller("flowkit_digest", first=True),
        services=session.services,
    )
    session.services[Results] = Stored(storage)
    session.services[Storage] = storage
    session.services[Reuse] = reuse
    session.services[Remembered] = storage
    session.services.setdefault(Before, storage)
    session.plugins.register(reuse, "cache:reuse")


@hookimpl
def flowkit_imported(modules: Sequence[ModuleType]) -> None:
    """Note the state of each file as it was executed, so that a later edit is not taken for its code."""
    from flowkit_plugins.cache.fingerprint import remember_import

    for module in modules:
        remember_import(module)


@hookimpl
def flowkit_header(session: Session) -> Sequence[str]:
    """Say where results are kept."""
    if session.flags.get("no_cache"):
        return ["cache: off"]
    folder = folder_of(session)
    try:
        return [f"cache: {folder.relative_to(session.root)}"]
    except ValueError:
        return [f"cache: {folder}"]


@hookimpl
def flowkit_unconfigure(session: Session) -> None:
    """Close the store, and sweep it if a run has made it too large."""
    from flowkit_plugins.cache.storage import Storage

    storage = session.services.get(Storage)
    if storage is not None:
        storage.close()
        if storage.wrote and session.settings["cache.max_size"] is not None:
            from flowkit_plugins.cache.gc import after_run

            after_run(session)


@hookimpl
def flowkit_commands() -> Sequence[click.Command]:
    """Add ``flowkit cache``."""
    from flowkit_plugins.cache.commands import group

    return [group()]
