"""Parameters of a job that contradict each other or are out of range."""

import pytest
from pydantic import ValidationError

from app.api.job_params import CalibrateParams, EpistemicReferenceParams
from models.calibration.masked_training import MacCalOptions


@pytest.mark.parametrize("given", [{"decay": 5}, {"sigma": 0.02}])
def test_what_is_chosen_is_not_given(given):
    EpistemicReferenceParams(choose=True, perturbations=4)
    EpistemicReferenceParams(**given)
    with pytest.raises(ValidationError, match="choose picks decay and sigma itself: leave them out"):
        EpistemicReferenceParams(choose=True, **given)


@pytest.mark.parametrize(
    ("name", "value"),
    [("depth", 1), ("directions", 0), ("perturbations", 33), ("sigma", 0), ("decay", -1), ("decay", float("nan"))],
)
def test_out_of_range(name, value):
    with pytest.raises(ValidationError, match=name):
        EpistemicReferenceParams(**{name: value})


def test_parameters_of_a_calibrator_are_refused_for_another():
    CalibrateParams(method="mac_cal", mac_cal={"gamma": 0.5})
    for method in ("auto", "temperature"):
        with pytest.raises(ValidationError, match=f"mac_cal has no meaning for the method {method}: leave it out"):
            CalibrateParams(method=method, mac_cal={})


def test_every_option_of_mac_cal_has_its_default():
    given = CalibrateParams(method="mac_cal", mac_cal={}).mac_cal.model_dump()
    assert MacCalOptions(**given) == MacCalOptions()
    with pytest.raises(ValidationError, match="lowest_q must not be above it"):
        CalibrateParams(method="mac_cal", mac_cal={"first_q": 0.3, "lowest_q": 0.5})
    with pytest.raises(ValidationError, match="reading"):
        CalibrateParams(method="mac_cal", mac_cal={"reading": "sum"})
