"""For tests of flows and of plugins: a project in a folder of its own (``flowkit.testing.project``)."""
