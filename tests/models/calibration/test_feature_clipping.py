from dataclasses import replace

import pytest
import torch

from models.calibration.feature_clipping import GRID_POINTS, GRID_STEP, NO_CLIP, FeatureClipping
from models.calibration.temperature import Temperature, best_inverse_temperature
from models.core.method import Dimensions
from models.core.outputs import LinearHead, ModelOutputs
from models.metrics.proper import accuracy, negative_log_likelihood
from tests.oracles.calibration import clipped_logits

DIMENSIONS = Dimensions(classes=4, features=12)


def with_outliers(rows, seed, share=0.3):
    """Two features are 20 times too large in `share` of the rows, which are then confident and often wrong."""
    generator = torch.Generator().manual_seed(seed)
    head = LinearHead(torch.randn(4, 12, generator=generator), torch.zeros(4))
    features = torch.randn(rows, 12, generator=generator)
    labels = torch.multinomial(head.logits(features).softmax(dim=1), 1, generator=generator)[:, 0]
    struck = torch.rand(rows, generator=generator) < share
    features[struck, :2] *= 20
    return ModelOutputs(head.logits(features), features=features, head=head), labels


def tempered_nll(outputs, labels, clip):
    logits = outputs.head.logits(outputs.features.clamp(-clip, clip)).double()
    return negative_log_likelihood(logits * best_inverse_temperature(logits, labels, near=1e-6), labels)


def test_clips_what_a_temperature_cannot_mend():
    outputs, labels = with_outliers(1200, seed=18)
    fitting, judging = torch.arange(600), torch.arange(600, 1200)
    losses = {}
    for kind in (Temperature, FeatureClipping):
        method = kind(DIMENSIONS).fit(outputs.take(fitting), labels[fitting])
        losses[kind] = negative_log_likelihood(method.transform(outputs.take(judging)).calibrated, labels[judging])
    assert 0.5 < float(method.state()["clip"]) < 6
    assert losses[FeatureClipping] < losses[Temperature] - 0.05


@pytest.mark.parametrize("seed", [19, 20])
def test_two_passes_find_nearly_the_best_of_the_grid(seed):
    outputs, labels = with_outliers(150, seed)
    least = 0.99 * accuracy(outputs.logits, labels)
    losses = [tempered_nll(outputs, labels, NO_CLIP)]
    for point in range(1, GRID_POINTS + 1, 5):
        logits = outputs.head.logits(outputs.features.clamp(-point * GRID_STEP, point * GRID_STEP))
        if accuracy(logits, labels) >= least:
            losses.append(tempered_nll(outputs, labels, point * GRID_STEP))
    found = float(FeatureClipping(DIMENSIONS).fit(outputs, labels).state()["clip"])
    assert tempered_nll(outputs, labels, found) < min(losses) + 0.005


def test_transform_cuts_the_features_and_divides_by_the_temperature():
    outputs, _ = with_outliers(30, seed=22)
    state = {"clip": torch.tensor(0.8), "temperature": torch.tensor(1.7)}
    found = FeatureClipping(DIMENSIONS).load_state(state).transform(outputs)
    head = outputs.head
    expected = clipped_logits(outputs.features.tolist(), head.weight.tolist(), head.bias.tolist(), 0.8)
    torch.testing.assert_close(found.calibrated, torch.tensor(expected) / 1.7, rtol=1e-5, atol=1e-5)
    assert found.features is outputs.features


def test_keeps_nearly_all_of_the_accuracy():
    generator = torch.Generator().manual_seed(23)
    features = torch.zeros(200, 12)
    labels = torch.randint(0, 4, (200,), generator=generator)
    # Which of the classes it is shows only in how large the feature is: clipping below 3 makes all rows alike.
    features[:, 0] = labels.float()
    weight, bias = torch.zeros(4, 12), torch.zeros(4)
    weight[:, 0], bias[:] = 2 * torch.arange(4.0), -torch.arange(4.0).square()
    head = LinearHead(weight, bias)
    outputs = ModelOutputs(head.logits(features), features=features, head=head)
    calibrated = FeatureClipping(DIMENSIONS).fit(outputs, labels).transform(outputs).calibrated
    assert accuracy(outputs.logits, labels) == 1
    assert accuracy(calibrated, labels) >= 0.99


def test_without_extreme_features_it_is_temperature_scaling():
    outputs, labels = with_outliers(400, seed=24, share=0.0)
    outputs = replace(outputs, features=outputs.features.sign(), logits=outputs.head.logits(outputs.features.sign()))
    method = FeatureClipping(DIMENSIONS).fit(outputs, labels)
    expected = Temperature(DIMENSIONS).fit(outputs, labels).transform(outputs).calibrated
    torch.testing.assert_close(method.transform(outputs).calibrated, expected, rtol=1e-3, atol=1e-3)


def test_a_head_of_another_network_is_refused():
    outputs, labels = with_outliers(20, seed=25)
    with pytest.raises(ValueError, match="prepare all three with one network"):
        FeatureClipping(DIMENSIONS).fit(replace(outputs, logits=outputs.logits + 1), labels)


def test_where_no_clip_helps_larger_features_of_new_rows_are_not_cut():
    features = torch.eye(4, 12).repeat(50, 1)
    head = LinearHead(4 * torch.eye(4, 12), torch.zeros(4))
    outputs = ModelOutputs(head.logits(features), features=features, head=head)
    method = FeatureClipping(DIMENSIONS).fit(outputs, torch.arange(4).repeat(50))
    twice = replace(outputs, features=2 * features, logits=2 * outputs.logits)
    temperature = method.state()["temperature"]
    torch.testing.assert_close(method.transform(twice).calibrated, twice.logits / temperature)
