"""What is refused before it is queued, with a pointer to what to change."""

import pytest

from app.errors import NotFoundError
from models.core.errors import UnknownNameError
from tests.fixtures.tables import outputs_table


def test_what_fits_is_admitted(admit):
    for type in ("calibrate", "evaluate"):
        admit(outputs_table(40), type)
    admit(outputs_table(40), version=1)
    admit(outputs_table(40, names=True))


def test_unknown_names(admit):
    with pytest.raises(UnknownNameError, match="model 'other'"):
        admit(outputs_table(40), model="other")
    with pytest.raises(UnknownNameError, match="version of tiny '7'"):
        admit(outputs_table(40), version=7)
    for dataset in ("ds_" + "0" * 20, "../store"):
        with pytest.raises(NotFoundError, match="no dataset"):
            admit(dataset)


def test_another_number_of_classes(refused):
    pointer, detail = refused(outputs_table(40, classes=7))
    assert pointer == "/dataset"
    assert "7 logits a row, but tiny has 10 classes" in detail


@pytest.mark.parametrize("type", ["calibrate", "evaluate"])
def test_labels_that_the_model_does_not_have(refused, type):
    pointer, detail = refused(outputs_table(40, names=True, labels={3: "digit x", 9: "digit x"}), type)
    assert pointer == "/dataset"
    assert "label 'digit x' is no class of the model, which has 10; 2 of 40 rows" in detail


@pytest.mark.parametrize(("rows", "share", "told"), [(39, 0.5, "19 rows to report on"), (40, 0.4, "16 rows to fit on")])
def test_too_few_rows(refused, admit, rows, share, told):
    pointer, detail = refused(outputs_table(rows), fit_share=share)
    assert pointer == "/dataset"
    assert told in detail
    assert "at least 20" in detail
    admit(outputs_table(rows), "evaluate")


def test_a_method_that_needs_features(refused, admit):
    assert refused(outputs_table(40), method="feature_clipping")[0] == "/params/method"
    admit(outputs_table(40, features=3), method="feature_clipping")


@pytest.mark.parametrize("type", ["calibrate", "evaluate"])
def test_a_version_that_needs_features(refused, admit, clipped, tiny_store, type):
    version = tiny_store.publish("tiny", clipped)
    pointer, detail = refused(outputs_table(40), type, version=version)
    assert pointer == "/dataset"
    assert "feature_clipping needs features" in detail
    admit(outputs_table(40, features=3), type, version=version)


def test_gradients_need_images(refused):
    pointer, detail = refused(outputs_table(80, features=3), "epistemic_reference")
    assert pointer == "/dataset"
    assert "is a table of outputs: send the images themselves" in detail


def test_rows_of_an_epistemic_reference(refused, admit, digit_archive):
    digits = {"content": digit_archive.path.read_bytes(), "type": "epistemic_reference", "name": "digits.zip"}
    admit(**digits, exact_rows=60)
    assert refused(**digits, exact_rows=61)[0] == "/params/exact_rows"
    assert "12 rows to fit on" in refused(**digits, fit_share=0.1)[1]
