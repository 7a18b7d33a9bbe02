"""The kit finds deliberate bugs: every one applies; a few are tried here, all of them with ``FLOWKIT_SOAK=1``."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.mutations.__main__ import place, tried  # noqa: E402
from tests.mutations.table import MUTATIONS  # noqa: E402

FEW = (
    "collector accepts a partial set",
    "one retry too many",
    "record before blob",
    "a key without the code",
    "shared resources are not torn down",
    "a time in a gap is lost",
)
CHOSEN = [m for m in MUTATIONS if os.environ.get("FLOWKIT_SOAK") or m.name in FEW]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.name)
def test_it_applies(mutation):
    assert place(mutation)


def test_there_are_thirty():
    assert len(MUTATIONS) >= 30
    assert set(FEW) <= {m.name for m in MUTATIONS}


@pytest.mark.parametrize("mutation", CHOSEN, ids=lambda m: m.name)
def test_it_is_found(mutation):
    found, said, _ = tried(mutation)
    assert found, f"{mutation.found_by} does not see it: {said}"
