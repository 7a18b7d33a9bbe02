"""Decides what runs next. Pure: events in, commands out.

The scheduler knows tasks, nodes and time as a number. It does no input or output, reads no clock,
starts no thread, draws no random number and has never heard of a plugin. Whatever can be got
wrong about order, failure, retry, fan-out and limits is decided here, and tested without a sleep.

A node waits for a count of things: upstream nodes that have not ended, and lists that are not
read yet. Whoever ends tells those that wait for it; the one whose count reaches zero is judged by
the table in ``triggers`` and becomes ready, or ends without running and tells others in turn. So
an event costs as much as it has consequences, and never a look at all nodes.

The state of a run is in ``books``; ``endings`` settles nodes and lets go of values, ``growth`` makes
nodes, ``again`` brings them back, and ``machine`` is what an event sets off. Each is the next one's
base class, so that calls point downwards.

While a list is read or a given value said, which whoever carries out commands does at once, nothing is
judged or started: all that one end unlocks is ready at one moment, and starts in definition order.

Nodes of a mapped task are made when the lists of their axes are known (``expansion``). A value is
released when nobody who may still need it is left.
"""

from flowkit.scheduler.machine import Scheduler
from flowkit.scheduler.states import Node, State

__all__ = ["Node", "Scheduler", "State"]
