"""``flowkit graph``: what hangs off what, as text, dot, mermaid or svg. Nothing is called.

Speaks to flowkit through ``flowkit_commands`` alone. A graph becomes a :class:`~.model.Drawing`
(boxes and lines, layer by layer), and each format is a function from that to text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flowkit.hookspecs import hookimpl

if TYPE_CHECKING:
    import click


@hookimpl
def flowkit_commands() -> Sequence[click.Command]:
    """Add ``flowkit graph``."""
    from flowkit_plugins.drawing.command import command

    return [command()]
