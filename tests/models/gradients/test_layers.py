"""Which layers a network has, in what order, and what is refused because its gradients would not be known."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from models.core.errors import UnsupportedError
from models.gradients.layer_kind import Batch
from models.gradients.layers import find_layers
from models.gradients.recording import Recorder
from tests.models.gradients.architectures import SUBJECTS
from tests.models.gradients.measured import every_class, prepared


def layers_of(network, inputs):
    return find_layers(network.eval(), lambda: network(inputs))


EXPECTED = {
    "mlp": ("0", "3", "6"),
    "convolutions": ("0", "2", "4", "6", "10"),
    "vit_of_torchvision": (
        "conv_proj",
        *(
            f"encoder.layers.encoder_layer_{block}.{layer}"
            for block in (0, 1)
            for layer in ("self_attention.in_proj", "self_attention.out_proj", "mlp.0", "mlp.3")
        ),
        "heads.head",
    ),
    "recurrent": ("embedding", "first", "second", "last"),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_layers_are_in_forward_order_with_their_norms_tokens_and_scales_joined(name):
    assert prepared(SUBJECTS[name]()).layers.names == EXPECTED[name]


def test_class_token_and_positions_belong_to_the_patch_projection():
    layers = prepared(SUBJECTS["vit_of_timm"]()).layers
    assert [member.name for member in layers.members if member.layer == 0] == ["patch_embed.proj", "", "blocks.0.norm1"]


def test_tied_weights_belong_to_the_layer_of_their_last_use():
    layers = prepared(SUBJECTS["gpt2"]()).layers
    assert set(layers.shared.values()) == {len(layers) - 1}
    assert layers.names[-1] == "lm_head"


def test_depth_takes_the_last_layers_alone():
    subject = SUBJECTS["vit_of_transformers"]()
    whole, last = (
        prepared(subject, depth).norms(subject.inputs, Batch(len(subject.inputs)), every_class)[1]
        for depth in (None, 3)
    )
    assert last.shape[2] == 3
    torch.testing.assert_close(last, whole[..., -3:])


class Bilinear(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix = nn.Bilinear(4, 4, 3)

    def forward(self, inputs):
        return self.mix(inputs, inputs)


class Elsewhere(nn.Module):
    """Reads the weight of a layer by itself as well."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, inputs):
        return self.inner(inputs) @ self.inner.weight.T


class Cut(nn.Module):
    """Turns each input into two rows."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 3)

    def forward(self, inputs):
        return self.inner(inputs.reshape(-1, 2)).reshape(len(inputs), -1)


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.spare = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, inputs):
        return self.used(inputs)


class Subclass(nn.Linear):
    def forward(self, inputs):
        return 2 * super().forward(inputs)


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Bilinear(), r"gradients of mix \(torch.nn.modules.linear.Bilinear: weight, bias\) are not known"),
        (nn.Sequential(nn.Linear(4, 4), Subclass(4, 3)), r"gradients of 1 \(.*Subclass: weight, bias\) are not known"),
        (nn.MultiheadAttention(4, 2), "expose_attention"),
        (Elsewhere(), r"a parameter \(4, 4\) is used outside of the module"),
        (Cut(), "Linear reads 4 rows for 2 inputs"),
        (Lazy(), "does not call spare"),
    ],
    ids=["unknown", "subclass", "attention", "elsewhere", "cut", "unused"],
)
def test_what_is_not_known_is_refused_by_name(network, message):
    with pytest.raises(UnsupportedError, match=message):
        layers_of(network, torch.randn(2, 4))


def test_parameters_that_are_not_known_to_be_broadcast_are_refused():
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(img_size=16, patch_size=8, embed_dim=12, depth=1, num_heads=2, num_classes=3)
    network.extra = nn.Parameter(torch.ones(1, 5, 12))
    with pytest.raises(UnsupportedError, match="gradients of extra of VisionTransformer are not known"):
        layers_of(network, torch.randn(2, 3, 16, 16))


@pytest.mark.parametrize("name", ["residual_of_timm", "vit_of_timm", "llama"])
def test_estimated_memory_is_what_a_recorded_pass_holds(name):
    subject = SUBJECTS[name]()
    layers = prepared(subject).layers
    recorder = Recorder(layers.members)
    subject.forward(subject.inputs)  # buffers that stay are made at the first call
    measured = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
    with measured, recorder.record(Batch(len(subject.inputs))) as recording:
        logits = subject.forward(subject.inputs)
    held = sum(event.nbytes() for event in measured.profiler.kineto_results.events() if event.name() == "[memory]")
    assert layers.bytes_a_row == pytest.approx(held / len(subject.inputs), rel=0.3)
    assert recording.starts
    assert logits.requires_grad


def test_importing_the_registry_loads_none_of_the_libraries_that_it_names():
    code = "import sys, models.gradients.layers; print([*sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "'torch'" in loaded
    assert not any(f"'{library}'" in loaded for library in ("timm", "torchvision", "transformers"))
