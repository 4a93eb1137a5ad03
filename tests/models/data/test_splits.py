import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.data.splits import fingerprint, split

NAMES = tuple(f"{number}.jpg" for number in range(50))


@given(names=st.sets(st.text(), min_size=3), seed=st.integers(0, 99), data=st.data())
def test_parts_are_disjoint_and_of_the_given_sizes(names, seed, data):
    first = data.draw(st.integers(0, len(names)))
    second = data.draw(st.integers(0, len(names) - first))
    parts = split(names, seed, first, second)
    assert [len(part) for part in parts] == [first, second]
    assert len({*parts[0], *parts[1]}) == first + second
    assert {*parts[0], *parts[1]} <= names


def test_depends_on_names_and_seed_and_not_on_their_order():
    parts = split(NAMES, 3, 20, 20)
    assert split(reversed(NAMES), 3, 20, 20) == parts
    assert split(NAMES, 4, 20, 20) != parts
    # Written down, so that a change that reshuffles published splits does not pass unseen.
    assert parts[0][:3] == ("40.jpg", "28.jpg", "8.jpg")


def test_rows_that_do_not_suffice_are_refused():
    assert split(NAMES, 0, 25, 25)
    with pytest.raises(ValueError, match="50 rows"):
        split(NAMES, 0, 25, 26)


def test_a_fingerprint_is_of_the_set():
    assert fingerprint(["b", "a"]) == fingerprint(("a", "b")) == hashlib.sha256(b"a\nb").hexdigest()
    assert fingerprint(["a"]) != fingerprint(["a", "b"])
