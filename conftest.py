"""What every test of flowkit has: the ``project`` fixture, and how long hypothesis looks.

``FLOWKIT_SOAK=1`` looks a hundred times as long, and at other examples each time.
"""

import os

from hypothesis import HealthCheck, settings

pytest_plugins = ["flowkit.testing.project"]

settings.register_profile("small", max_examples=50, deadline=None, derandomize=True)
settings.register_profile(
    "soak",
    max_examples=5000,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("soak" if os.environ.get("FLOWKIT_SOAK") else "small")
