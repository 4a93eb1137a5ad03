"""Labels as given, and the classes of a model."""

import pytest

from models.core.errors import DataError
from models.data.labels import label_counts, label_from_text, label_indexes

CLASSES = ("cat", "dog", "eel")


def named(*labels):
    return {f"row {number}": label for number, label in enumerate(labels, start=1)}


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("7", 7),
        (" 7 ", 7),
        ("0", 0),
        ("-1", -1),
        ("007", "007"),
        ("1.0", "1.0"),
        ("1e3", "1e3"),
        ("cat", "cat"),
        ("", ""),
        ("  ", ""),
        ("٣", "٣"),
        ("9" * 30, "9" * 30),
        ("1_0", "1_0"),
    ],
)
def test_text_is_an_index_only_when_it_is_written_like_one(text, label):
    assert label_from_text(text) == label


@pytest.mark.parametrize("labels", [(2, 0, 1), ("eel", "cat", "dog")])
def test_indexes_and_names_lead_to_the_same_classes(labels):
    assert label_indexes(named(*labels), CLASSES) == [2, 0, 1]


@pytest.mark.parametrize(
    ("labels", "first", "count"),
    [((0, 3, 7), "row 2", 2), ((-1, 0), "row 1", 1), (("cat", "Dog", "cat "), "row 2", 2), (("", "cat"), "row 1", 1)],
)
def test_labels_that_do_not_fit_are_named_and_counted(labels, first, count):
    with pytest.raises(DataError) as refused:
        label_indexes(named(*labels), CLASSES)
    assert f"row {first!r}" in str(refused.value)
    assert f"{count} of {len(labels)} rows" in str(refused.value)
    assert refused.value.bad[0][0] == first
    assert len(refused.value.bad) == count


def test_data_of_another_model_is_recognised_by_the_number_of_classes():
    with pytest.raises(DataError, match="102 different labels, the model 3 classes"):
        label_indexes(named(*range(102)), CLASSES)


def test_a_mix_is_refused():
    with pytest.raises(DataError, match=r"'row 2' has 'dog'.*'row 1' has 0"):
        label_indexes(named(0, "dog"), CLASSES)


def test_numbers_that_are_also_names_are_not_guessed():
    assert label_indexes(named(1, 0), ("0", "1")) == [1, 0]
    with pytest.raises(DataError, match="both the index of class '2' and the name of class 0"):
        label_indexes(named(1), ("1", "2", "3"))


def test_a_model_with_two_classes_of_one_name_takes_indexes_only():
    assert label_indexes(named(1), ("crane", "crane")) == [1]
    with pytest.raises(DataError, match="two classes of one name"):
        label_indexes(named("crane"), ("crane", "crane"))


def test_counts_are_in_the_order_of_the_classes():
    assert list(label_counts(named(10, 2, 10, 9)).items()) == [("2", 1), ("9", 1), ("10", 2)]
