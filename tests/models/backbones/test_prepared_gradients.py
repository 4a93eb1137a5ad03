"""A served network that gives gradients as well: the same predictions, and the gradients of the stored parameters."""

import threading
from dataclasses import replace

import pytest
import torch
from torch import nn

from models.backbones.prepared import exact_gradients, prepare, suggested_plan
from models.core.golden import golden_pixels
from models.core.gradient_plan import GradientPlan
from models.core.input_spec import InputSpec

CPU = torch.device("cpu")
PLAN = GradientPlan(depth=5, directions=9)


@pytest.fixture
def spec(tiny):
    return tiny.plan.recipe.input_spec


@pytest.fixture
def pixels(spec):
    return golden_pixels(spec, tuple(range(6)))


def test_gradients_leave_the_predictions_as_they_are(tiny, spec, pixels):
    plain = prepare(tiny.network, "timm", spec, CPU, "float32").outputs(pixels)
    kept = prepare(tiny.network, "timm", spec, CPU, "float32", plan=PLAN)
    for asked in (False, True):
        outputs = kept.outputs(pixels, gradients=asked)
        torch.testing.assert_close(outputs.logits, plain.logits, rtol=1e-4, atol=1e-4)
        assert not outputs.logits.requires_grad
        assert not outputs.features.requires_grad
        assert (outputs.gradients is not None) is asked
    assert plain.gradients is None


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.1)])
def test_the_fast_form_with_every_direction_is_the_exact_one_of_the_stored_network(
    tiny, spec, pixels, precision, tolerance
):
    kept = prepare(tiny.network, "timm", spec, CPU, precision, plan=PLAN)
    found = kept.outputs(pixels, gradients=True).gradients
    exact = exact_gradients(tiny.network, "timm", spec, CPU, PLAN)
    images = spec.tensor(pixels, CPU, torch.float32)
    expected = torch.cat([row.energies for row in exact.energies(images)])
    assert found.layers == expected.shape[1]
    torch.testing.assert_close(found.energies, expected[:, -5:], rtol=tolerance, atol=0)


def test_only_the_layers_of_the_plan_stay_unfolded(tiny, spec):
    def norms(prepared):
        return sum(isinstance(module, nn.BatchNorm2d) for module in prepared.trunk.modules())

    shallow, deep = (
        norms(prepare(tiny.network, "timm", spec, CPU, "float32", plan=GradientPlan(depth, 1))) for depth in (2, 6)
    )
    assert 0 < shallow < deep < norms_of(tiny.network)


def norms_of(network):
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def test_threads_share_a_network_and_get_their_own_gradients(tiny, spec, pixels):
    kept = prepare(tiny.network, "timm", spec, CPU, "float32", plan=PLAN)
    alone = [kept.outputs(pixels[[row]], gradients=True).gradients.energies for row in range(6)]
    found = [[] for _ in range(6)]

    def work(row):
        for _ in range(10):
            found[row].append(kept.outputs(pixels[[row]], gradients=True).gradients.energies)

    threads = [threading.Thread(target=work, args=(row,)) for row in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for row, mine in enumerate(found):
        assert len(mine) == 10
        for each in mine:
            torch.testing.assert_close(each, alone[row], rtol=1e-4, atol=0)


def test_a_plan_is_suggested_by_the_number_of_layers(tiny, spec):
    plan = suggested_plan(tiny.network, "timm", spec)
    assert isinstance(plan, GradientPlan)
    assert 2 <= plan.depth <= 6


def vit_of_timm():
    import timm

    return timm.create_model("test_vit", num_classes=10, img_size=32)


def vit_of_torchvision():
    from torchvision.models import VisionTransformer

    sizes = {"image_size": 32, "patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
    network = VisionTransformer(**sizes, num_classes=10)
    nn.init.normal_(network.heads.head.weight)  # torchvision starts it at zero
    return network


def vit_of_transformers():
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return ViTForImageClassification(ViTConfig(**sizes, image_size=32, patch_size=8, num_labels=10))


@pytest.mark.parametrize("build", [vit_of_timm, vit_of_torchvision, vit_of_transformers])
def test_vision_transformers_have_a_fast_and_an_exact_form(build, spec, pixels):
    torch.manual_seed(0)
    network, kind = build().eval().requires_grad_(False), build.__name__.removeprefix("vit_of_")
    plan = suggested_plan(network, kind, spec)
    assert isinstance(plan, GradientPlan), plan
    plain = prepare(network, kind, spec, CPU, "float32").outputs(pixels)
    every = replace(plan, directions=9)
    outputs = prepare(network, kind, spec, CPU, "float32", plan=every).outputs(pixels, gradients=True)
    torch.testing.assert_close(outputs.logits, plain.logits, rtol=1e-4, atol=1e-5)
    images = spec.tensor(pixels, CPU, torch.float32)
    found = exact_gradients(network, kind, spec, CPU, plan).energies(images)
    exact = torch.cat([row.energies for row in found])[:, -plan.depth :]
    torch.testing.assert_close(outputs.gradients.energies, exact, rtol=1e-3, atol=0)


def test_a_network_whose_gradients_are_not_known_has_the_reason_in_place_of_a_plan():
    import timm

    network = timm.create_model("swin_tiny_patch4_window7_224", img_size=56, window_size=7, num_classes=2, embed_dim=24)
    spec = InputSpec(56, 56, 56, "bicubic", (0.5,) * 3, (0.5,) * 3)
    found = suggested_plan(network.eval(), "timm", spec)
    assert isinstance(found, str)
    assert "relative_position_bias_table" in found


@pytest.mark.parametrize(
    "wrong",
    [
        {"depth": 1},
        {"directions": 0},
        {"perturbations": -1},
        {"sigma": 0.0},
        {"sigma": float("inf")},
        {"seed": -1},
        {"depth": 2.5},
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GradientPlan(**{"depth": 3, "directions": 1} | wrong)
