"""Deliberate bugs in the scheduler, cache, retries, resuming and teardown: the test kit has to find every one.

``python -m tests.mutations`` tries all; ``python -m tests.mutations NAME…`` some.
"""
