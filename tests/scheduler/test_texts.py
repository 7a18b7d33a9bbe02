"""Joined ids against brute force: no two elements have one text, and lists that are not ambiguous need no look."""

import itertools

from hypothesis import given, strategies as st

from flowkit.scheduler.texts import Texts, ambiguous

IDS = st.lists(st.text("ab-_1", min_size=1, max_size=5), min_size=1, max_size=4, unique=True)


@given(st.lists(IDS, min_size=2, max_size=3))
def test_every_element_has_a_text_of_its_own(lists):
    elements = [*itertools.product(*lists)]
    plain = ["-".join(ids) for ids in elements]
    texts = Texts()
    texts.enter(elements)
    texts.enter(reversed(elements))  # to no effect
    found = [texts.found[ids] for ids in elements]
    assert len(set(found)) == len(elements)
    assert [text for i, text in enumerate(plain) if text not in plain[:i]] == [
        text for i, text in enumerate(found) if plain[i] not in plain[:i]
    ]


@given(st.lists(IDS, min_size=2, max_size=3))
def test_elements_of_lists_that_are_not_ambiguous_differ_when_joined(lists):
    if not any(ambiguous(ids) for ids in lists[:-1]):
        plain = ["-".join(ids) for ids in itertools.product(*lists)]
        assert len(set(plain)) == len(plain)


def test_ordinary_ids_are_not_ambiguous():
    assert not ambiguous(["2024-01-01", "2024-01-02"])
    assert not ambiguous(["-1", "1", "a-", "b"])
    assert ambiguous(["eu-west", "eu"])
