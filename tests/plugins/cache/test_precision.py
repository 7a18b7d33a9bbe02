"""flowkit's own main test: any flow, edited, run, killed, swept and continued in any order. See the machine."""

import os

from hypothesis import HealthCheck, Phase, settings

from flowkit.testing import FlowMachine

SOAK = bool(os.environ.get("FLOWKIT_SOAK"))

TestPrecision = FlowMachine.TestCase
TestPrecision.settings = settings(
    max_examples=2000 if SOAK else 5,
    stateful_step_count=50 if SOAK else 15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    # Shrinking runs flows hundreds of times; a soak has the time for that.
    phases=list(Phase) if SOAK else [Phase.generate],
)
