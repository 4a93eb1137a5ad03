"""What the epistemic benchmarks compute from scores, against slow or foreign code; their tables and figures."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from sklearn.metrics import average_precision_score, roc_curve
from torch import Tensor

from models.gradients.family import PRESETS, Classes, Family, family_score, with_perturbed
from tests.benchmarks.epistemic.accuracy import by_equal_bins, by_percentile
from tests.benchmarks.epistemic.active_learning import SIZES, STRATEGIES, Run, finished, report
from tests.benchmarks.epistemic.cifar10_network import ResNet20
from tests.benchmarks.epistemic.comparison import Comparison
from tests.benchmarks.epistemic.detection import Draws, detection, middle_95
from tests.benchmarks.epistemic.exact import class_norms, class_weights, combined, last_layer_score, layer_norms
from tests.benchmarks.epistemic.figure import Figure, Line
from tests.benchmarks.epistemic.subject import Subject, cifar10_subject
from tests.benchmarks.epistemic.tables import Report, Table

EVERY = [name for name, family in PRESETS.items() if family.classes is not Classes.UNIFORM]


@pytest.fixture(scope="module")
def subject() -> Subject:
    torch.manual_seed(0)
    return cifar10_subject(ResNet20(width=4, blocks=1))


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", EVERY)
def test_class_norms_combine_to_the_preset(subject: Subject, pixels: Tensor, name: str) -> None:
    family, images = PRESETS[name], subject.images(pixels)
    probabilities = subject.logits(subject.features(pixels)).softmax(dim=1)
    found = combined(class_norms(subject.gradients, images, family.q), family, class_weights(probabilities, family))
    torch.testing.assert_close(found.float(), family_score(subject.gradients, images, family))


@pytest.mark.parametrize("name", PRESETS)
def test_last_layer_in_closed_form(subject: Subject, pixels: Tensor, name: str) -> None:
    family = replace(PRESETS[name], depth=1)
    features = subject.features(pixels)
    found = last_layer_score(subject.logits(features), features, family)
    # The weight of the only layer is one among those of all, which scales every score alike.
    exact = family_score(subject.gradients, subject.images(pixels), family)
    torch.testing.assert_close(found / found[0], (exact / exact[0]).double(), rtol=1e-4, atol=0)


def test_layer_norms_of_perturbed_copies(subject: Subject, pixels: Tensor) -> None:
    family = Family(decay=5, perturbations=2, sigma=0.1)
    images = subject.images(pixels)
    rows = with_perturbed(images, family, seed=0).flatten(0, 1)
    found = combined(layer_norms(subject.gradients, rows, family, copies=3), family)
    torch.testing.assert_close(found.float(), family_score(subject.gradients, images, family))


def test_the_mean_gradient_is_no_sum_over_classes() -> None:
    with pytest.raises(ValueError, match="last_layer_score"):
        class_weights(torch.full((1, 2), 0.5), PRESETS["gradnorm"])


def test_detection_agrees_with_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(2)
    inside = torch.randint(0, 40, (120,), generator=generator).double()  # with ties
    outside = torch.randint(10, 60, (70,), generator=generator).double()
    label, score = [0] * 120 + [1] * 70, torch.cat([inside, outside]).numpy()
    found = detection(inside, outside)
    false, true, _ = roc_curve(label, score, drop_intermediate=False)
    assert found.aupr == pytest.approx(average_precision_score(label, score))
    assert found.fpr95 == pytest.approx(false[(true >= 0.95).argmax()])


def test_names_the_scores_that_are_surely_ahead() -> None:
    outside = torch.arange(50.0)
    scores = {"regrad": outside, "better": outside + 20}
    found = Comparison("network", {name: torch.arange(50.0) for name in scores}, {"noise": scores})
    (sentence,) = found.losses("regrad")
    assert sentence.startswith("network, out = noise: regrad has AUROC 0.500; ahead of it: better by 0.3")
    assert "regrad by" not in sentence


def test_draws_are_paired() -> None:
    inside, outside = torch.arange(30.0), [torch.arange(20.0) + 15, torch.arange(10.0)]
    draws = Draws.of(30, [20, 10])
    first, second = draws.aurocs(inside, outside), draws.aurocs(inside * 2, [scores * 2 for scores in outside])
    assert torch.equal(first, second)
    low, high = middle_95(first[0])
    assert low < detection(inside, outside[0]).auroc < high


def test_accuracy_by_bins_of_the_score() -> None:
    score = torch.tensor([0.4, 0.1, 0.3, 0.2])
    right = torch.tensor([False, True, False, True])
    assert by_equal_bins(score, right, bins=2) == [1, 0]
    assert by_percentile(torch.tensor([0.0, 0.1, 1.0]), torch.tensor([True, False, True]), bins=3) == [
        (2, 0.5),
        (0, None),
        (1, 1),
    ]


def test_active_learning_is_compared_seed_by_seed(tmp_path: Path) -> None:
    gains = {"random": 0.0, "entropy": 0.1, "regrad": 0.2}
    runs = [
        Run(name, seed, [0.4] + [0.4 + gains[name]] * (len(SIZES) - 1), 1.0) for name in STRATEGIES for seed in (0, 1)
    ]
    path = tmp_path / "runs.jsonl"
    assert finished(path) == []
    path.write_text("".join(json.dumps(asdict(run)) + "\n" for run in runs))
    assert finished(path) == runs
    text = report(runs, {}).markdown()
    assert "|entropy|0.4000 ± 0.0000|0.5000 ± 0.0000|" in text
    assert (
        "regrad minus random, mean accuracy over the rounds, seed by seed: +0.2000 ± 0.0000; ahead with 2 of 2" in text
    )


def test_a_report_is_one_table_twice(tmp_path: Path) -> None:
    table = Table("AUROC", "score", ["a", "b"], {"regrad": [0.5, None]})
    Report("quality", "Quality", "python -m it", {"seed": "1"}, [table], ["It loses."]).write(tmp_path)
    text = (tmp_path / "quality.md").read_text()
    assert "|regrad|0.5000||" in text
    assert text.endswith("It loses.\n")
    assert '"regrad": [\n' in (tmp_path / "quality.json").read_text()
    with pytest.raises(ValueError, match="2 cells for 1 columns"):
        replace(table, columns=["a"])


def test_a_figure_holds_every_interval_and_escapes_its_texts() -> None:
    line = Line("a < b", [0.91, 0.93], [(0.88, 0.94), (0.9, 0.961)])
    figure = Figure("AUROC & λ", "λ", "AUROC", ["0", "5"], [line])
    assert figure.ticks() == [0.875, 0.9, 0.925, 0.95, 0.975]
    picture = ElementTree.fromstring(figure.svg())
    texts = [element.text for element in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert {"AUROC & λ", "a < b", "0", "5", "0.95"} <= set(texts)
    ends = [tuple(map(float, found)) for found in re.findall(r"d=\"M\S+ ([\d.]+)V([\d.]+)", figure.svg())]
    assert len(ends) == 2
    assert all(top < bottom for bottom, top in ends)
    with pytest.raises(ValueError, match="a value for each"):
        replace(figure, categories=["0"])


def test_ticks_of_a_constant_line() -> None:
    assert Figure("", "", "", ["a"], [Line("", [0.0])]).ticks() == [0, 1]
