"""Parameters of a job that contradict each other or are out of range."""

import pytest
from pydantic import ValidationError

from app.api.job_params import EpistemicReferenceParams


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
