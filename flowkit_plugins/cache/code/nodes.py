"""One piece of the user's code, and what it reaches."""

from __future__ import annotations

from operator import itemgetter
from typing import NamedTuple

from flowkit_plugins.cache.code.trees import fold

_LABEL = itemgetter(0)


class Constant(NamedTuple):
    """A value bound to a name, in a module or in a closure."""

    value: object


class Node:
    """A function, class, constant or module of the user's.

    ``hash`` says nothing of what the piece reaches; ``edges`` do, each labelled with the words
    the code uses (``helpers.clean``). Both are set once the node has grown.
    """

    __slots__ = ("edges", "file", "grown", "hash", "keep", "kind", "line", "name", "subject")

    def __init__(self, name: str, subject: object, keep: object = None) -> None:
        self.name = name
        self.subject = subject
        # Nodes are found by the identity of this, so it must live as long as the node.
        self.keep = keep
        self.hash = ""
        self.kind = ""
        self.file = ""
        self.line = 0
        self.edges: list[tuple[str, Node]] = []
        self.grown = False


class Growth:
    """What is being found out about one node: texts for its hash, and edges by label."""

    def __init__(self) -> None:
        #: Further texts of the hash, in no particular order.
        self.texts: list[str] = []
        #: By label and by the identity of what is reached.
        self.edges: dict[tuple[str, int], tuple[str, Node]] = {}

    def edge(self, label: str, node: Node) -> None:
        """Note that the code reaches ``node`` under this label."""
        self.edges[label, id(node)] = (label, node)

    def settle(self, node: Node, kind: str, *texts: str) -> None:
        """Give the node its kind, its edges, and its hash over ``texts`` and those noted."""
        every = [*texts, *sorted(self.texts)] if self.texts else texts
        node.kind = kind
        node.hash = every[0] if len(every) == 1 else fold(kind, *every)
        # By label alone: where two are equal, the order of discovery stays.
        node.edges = [*self.edges.values()]
        if len(node.edges) > 1:
            node.edges.sort(key=_LABEL)
        node.grown = True
