"""What is loaded, what is not and why, and which model answers a request."""

import shutil

import pytest

from app.errors import InvalidError, NotFoundError, NotReadyError
from app.scoring.catalog import Catalog, LoadFailure
from app.settings import Settings

MODEL, OTHER = "efficientnet-lite0", "cifar10-resnet"


@pytest.fixture(scope="module")
def damaged(damaged_store):
    catalog = Catalog(Settings(store=damaged_store, max_batch=1))
    catalog.load()
    return catalog


def test_nothing_is_served_before_loading(tmp_path):
    catalog = Catalog(Settings(store=tmp_path / "store"))
    assert not catalog.loaded
    with pytest.raises(NotReadyError, match="loading"):
        catalog.get(None)


def test_an_empty_store_is_filled_and_no_damaged_manifest_stops_that(tmp_path, damaged_store):
    store = tmp_path / "new" / "store"
    contents = ["null", "[]", "{", '{"format": 1, "report": []}', "1" * 5000, "[" * 100_000, "\x00"]
    for number, content in enumerate(contents):
        shutil.copytree(damaged_store / "bad-manifest", store / f"bad-{number}")
        (store / f"bad-{number}/versions/1/manifest.json").write_text(content)
    catalog = Catalog(Settings(store=store, max_batch=1))
    catalog.load()
    assert catalog.loaded
    assert list(catalog.predictors) == [OTHER, MODEL]
    assert list(catalog.failures) == [f"bad-{number}" for number in range(len(contents))]
    assert catalog.get(MODEL).version == catalog.get(OTHER).version == 1
    assert catalog.get(None).model == MODEL, "one of those that ship answers where no other model does"
    assert catalog.get(MODEL).calibration["evaluations"]


def test_one_bad_model_does_not_hide_the_others(damaged):
    assert damaged.loaded
    assert list(damaged.predictors) == ["bad-second", OTHER, MODEL]
    reasons = {model: failure.reason for model, failure in damaged.failures.items()}
    assert list(reasons) == ["bad-manifest", "bad-methods", "bad-pointer", "bad-report"]
    assert all(reasons.values())


def test_which_model_answers(damaged):
    assert damaged.get(MODEL).model == MODEL
    assert damaged.get(None) is damaged.get(MODEL), "whatever stands beside it"
    with pytest.raises(NotReadyError, match="bad-methods could not be loaded"):
        damaged.get("bad-methods")
    with pytest.raises(NotFoundError, match=f"bad-second, {OTHER}, {MODEL}"):
        damaged.get("nothing")


def test_a_store_that_cannot_be_written_is_a_failure_with_a_reason(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("")
    catalog = Catalog(Settings(store=blocked))
    catalog.load()
    assert catalog.loaded
    assert catalog.predictors == {}
    assert list(catalog.failures) == ["shipped checkpoints"]


@pytest.fixture
def both(tmp_path, plain_predictor, plain_prompt_predictor):
    """`both(images, prompts, failed)`: a catalog that serves models of these names."""

    def made(images, prompts=(), failed=(), **settings):
        catalog = Catalog(Settings(store=tmp_path, **settings))
        catalog.predictors = dict.fromkeys(images, plain_predictor) | dict.fromkeys(prompts, plain_prompt_predictor)
        catalog.failures = {name: LoadFailure(name, "damaged") for name in failed}
        catalog.loaded = True
        return catalog

    return made


def test_images_and_prompts_have_defaults_of_their_own(both, plain_predictor, plain_prompt_predictor):
    catalog = both([MODEL, OTHER], ["smollm2-135m"])
    assert (catalog.get(None), catalog.get_for_prompts(None)) == (plain_predictor, plain_prompt_predictor)
    with pytest.raises(InvalidError, match="takes prompts"):
        catalog.get("smollm2-135m")
    with pytest.raises(InvalidError, match="takes images"):
        catalog.get_for_prompts(MODEL)
    named = both([MODEL, "mine"], ["smollm2-135m", "ours"], default_model="ours")
    assert named.get_for_prompts(None) is plain_prompt_predictor
    assert named.get(None) is plain_predictor
    with pytest.raises(InvalidError, match=r"name a model \(there are: mine, other\)"):
        both(["mine", "other"]).get(None)


def test_another_that_ships_does_not_stand_in_for_a_default_that_failed(both, plain_predictor):
    with pytest.raises(InvalidError, match="name a model"):
        both([OTHER], failed=[MODEL]).get(None)
    assert both([OTHER], failed=["smollm2-135m"]).get(None) is plain_predictor, "of another kind"
    assert both(["mine"], failed=[MODEL]).get(None) is plain_predictor, "an own model was chosen by somebody"
