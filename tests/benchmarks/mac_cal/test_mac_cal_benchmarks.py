"""What the MaC-Cal benchmarks compute of their own: corruptions, ways, the check of acceptance, bars."""

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from skimage.data import chelsea

from models.core.outputs import LinearHead, ModelOutputs
from tests.benchmarks.experiments.journal import Run
from tests.benchmarks.experiments.results import Results
from tests.benchmarks.mac_cal import ablated, compared, comparison
from tests.benchmarks.mac_cal.bars import bar_chart
from tests.benchmarks.mac_cal.corrupted import CORRUPTIONS, SEVERITIES, Pixels
from tests.benchmarks.mac_cal.kept import kept
from tests.benchmarks.mac_cal.observed import Labelled, Observed
from tests.benchmarks.mac_cal.settings import DEFAULT, with_masks
from tests.benchmarks.mac_cal.ways import BOTH, FRESH, NONE, TEMPERATURE, TRAINED, VECTOR, WAYS, both, figures

SVG = "{http://www.w3.org/2000/svg}"
EVEN = ("Gaussian blur", "defocus blur", "zoom blur", "contrast", "pixelation", "saturation", "JPEG")


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """Four parts of a photograph, 32 by 32 pixels each."""
    photograph = chelsea()[::3, ::3]
    return np.stack([photograph[30:62, left : left + 32] for left in (20, 52, 84, 110)])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_follows_its_seed_and_does_more_at_a_higher_severity(name: str, pixels: Pixels) -> None:
    found = [CORRUPTIONS[name](pixels, severity, 0) for severity in SEVERITIES]
    assert all(each.shape == pixels.shape and each.dtype == np.uint8 for each in found)
    assert np.array_equal(found[2], CORRUPTIONS[name](pixels, 3, 0))
    moved = [np.abs(each.astype(int) - pixels).mean() for each in found]
    assert moved[4] > moved[0] > 0


@pytest.mark.parametrize("name", EVEN)
def test_an_even_grey_image_stays_as_it_is_where_nothing_is_added(name: str) -> None:
    grey = np.full((1, 32, 32, 3), 128, np.uint8)
    assert np.array_equal(CORRUPTIONS[name](grey, 1, 0), grey)


def test_strengths_mean_what_they_say() -> None:
    grey = np.full((50, 32, 32, 3), 100, np.uint8)
    noisy = CORRUPTIONS["Gaussian noise"](grey, 5, 0).astype(float)
    assert noisy.std() / 255 == pytest.approx(0.1, rel=0.02)
    shot = CORRUPTIONS["shot noise"](grey, 5, 0).astype(float)
    assert shot.std() / 255 == pytest.approx((100 / 255 / 50) ** 0.5, rel=0.02)
    changed = (CORRUPTIONS["impulse noise"](grey, 5, 0) != grey).mean()
    assert changed == pytest.approx(0.07, rel=0.05)
    assert (CORRUPTIONS["brightness"](grey, 5, 0) == round(100 + 0.3 * 255)).all()
    halves = np.repeat(np.array([50, 150], np.uint8), 16)[None, None, :, None].repeat(32, 1).repeat(3, 3)
    assert set(CORRUPTIONS["contrast"](halves, 2, 0).flatten()) == {75, 125}


def made(seed: int, rows: int = 300) -> Labelled:
    """Three classes, a feature each, under a head that is far too sure."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 3
    features = torch.nn.functional.one_hot(labels, 8).float() + 0.5 * torch.randn(rows, 8, generator=generator)
    head = LinearHead(20 * torch.eye(3, 8), torch.zeros(3))
    return Labelled(ModelOutputs(head.logits(features), features=features, head=head), labels)


OBSERVED = Observed(made(0), made(1), made(2), {"CIFAR-100": made(3).outputs})


@pytest.mark.parametrize("way", sorted(WAYS.keys() - {NONE}))
def test_every_way_calibrates_a_head_that_is_too_sure(way: str) -> None:
    plain, found = (figures(OBSERVED, WAYS[each](OBSERVED, 0)) for each in (NONE, way))
    assert found["nll"] < 0.5 * plain["nll"]
    assert found["accuracy"] > plain["accuracy"] - 0.05
    assert found["AUROC CIFAR-100"] == pytest.approx(0.5, abs=0.1)
    assert ("last q" in found) == (way in (FRESH, TRAINED, BOTH))


def test_masks_at_inference_leave_nothing_out_at_q_one() -> None:
    method, told = both(OBSERVED, DEFAULT)
    same, sparse = with_masks(method, 1.0, 0), with_masks(method, 0.5, 0)
    assert all(torch.equal(same.state()[name], tensor) for name, tensor in method.state().items())
    assert (sparse.state()["inner"] == 0).double().mean() == pytest.approx(0.5, abs=0.2)
    assert DEFAULT.lowest_q <= told["kept q"] <= 1
    assert 1 <= told["kept epoch"] <= DEFAULT.epochs


def made_runs(share: float, lost: float) -> Results:
    cells = compared.CELLS["mixup"]
    runs = []
    for seed in range(3):
        before = 0.1 + seed / 100
        found = {
            NONE: (before, 0.8),
            TEMPERATURE: (0.03, 0.8),
            VECTOR: (0.02, 0.81),
            BOTH: (share * before, 0.8 - lost),
        }
        runs += [
            Run(cells[way].key, seed, {"ece": error, "accuracy": right, "nll": error}, 1.0)
            for way, (error, right) in found.items()
        ]
    return Results(runs)


@pytest.mark.parametrize(
    ("share", "lost", "held", "verdict"),
    [(0.4, 0.005, "3 of 3", "yes"), (0.4, 0.02, "0 of 3", "no"), (0.6, 0, "0 of 3", "no")],
)
def test_acceptance_asks_for_half_the_ece_and_the_accuracy(share: float, lost: float, held: str, verdict: str) -> None:
    ((name, row),) = comparison.acceptance(made_runs(share, lost), {"mixup": compared.CELLS["mixup"]}).rows.items()
    assert name == "mixup: MaC-Cal, both"
    assert row[0] == pytest.approx(share)
    assert row[2:4] == [held, verdict]
    assert str(row[4]).endswith("lower in 0 of 3")


def test_winners_are_named_with_temperature_scaling_beside_them() -> None:
    told = comparison.winners(made_runs(0.4, 0.005), "mixup", compared.CELLS["mixup"])
    assert "ECE, 15 bins: vector 0.0200, MaC-Cal, both 0.0440, temperature 0.0300" in told
    assert "accuracy: vector 0.8100, MaC-Cal, both 0.7950, temperature 0.8000" in told


def test_outputs_are_observed_once_and_kept(tmp_path: Path) -> None:
    observe = iter([OBSERVED])
    first, again = (kept(tmp_path / "outputs" / "made.safetensors", lambda: next(observe)) for _ in range(2))
    for found in (first, again):
        assert torch.equal(found.trained.labels, OBSERVED.trained.labels)
        assert torch.equal(found.judged.outputs.require_features(), OBSERVED.judged.outputs.require_features())
        assert torch.equal(found.outside["CIFAR-100"].logits, OBSERVED.outside["CIFAR-100"].logits)
        assert torch.equal(found.fresh.outputs.require_head().weight, OBSERVED.fresh.outputs.require_head().weight)


@dataclass(frozen=True, slots=True)
class Named:
    key: str


def test_bars_stand_on_zero_and_are_as_high_as_their_means() -> None:
    results = Results(
        [Run(key, seed, {"ece": value}, 1.0) for key, value in {"a": 0.2, "b": 0.1}.items() for seed in (0, 1)]
    )
    bars = {key: {"net": (Named(key), "ece"), "other": (Named(f"{key} elsewhere"), "ece")} for key in ("a", "b")}
    chart = bar_chart(results, "ECE", "ECE", bars)
    assert chart is not None
    assert chart.categories == ["net"]
    drawn = [rect for rect in ElementTree.fromstring(chart.svg()).iter(f"{SVG}rect") if rect.get("fill")]
    feet = [float(rect.get("y", "")) + float(rect.get("height", "")) for rect in drawn]
    heights = [float(rect.get("height", "")) for rect in drawn]
    assert feet[0] == pytest.approx(feet[1], abs=0.2)
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert bar_chart(results, "ECE", "ECE", {"a": {"other": (Named("none"), "ece")}}) is None


def test_masks_at_inference_come_right_after_the_fit_that_they_are_put_on() -> None:
    settings = [cell.setting for cell, _ in ablated.experiment().tasks]
    places = [place for place, setting in enumerate(settings) if setting == ablated.UNMASKED]
    assert places
    assert all(settings[place + 1 : place + 3] == list(ablated.MASKED) for place in places)
