"""Small networks of every kind that gradient norms are taken of, and inputs for them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.backbones.own import ResNet9
from models.gradients.attention import expose_attention


@dataclass(frozen=True)
class Subject:
    """`forward` runs `network`; `reference` is the same network before it was made ready, where that changes it."""

    network: nn.Module
    forward: Callable[[Tensor], Tensor]
    inputs: Tensor
    reference: Callable[[Tensor], Tensor] | None = None


@torch.no_grad()
def unlike_new(network: nn.Module) -> nn.Module:
    """In eval mode; no parameter is left at zero or one, and batch statistics are not those of white noise."""
    for parameter in network.parameters():
        parameter += torch.randn_like(parameter) * (0.3 if parameter.ndim == 1 else 0.05)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(std=0.3)
            module.running_var.uniform_(0.5, 2)
    return network.eval().requires_grad_(False)


def images(size: int, rows: int = 4) -> Tensor:
    return torch.randn(rows, 3, size, size)


def plain(network: nn.Module, inputs: Tensor) -> Subject:
    unlike_new(network)
    return Subject(network, network, inputs)


def mlp() -> Subject:
    layers = nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Linear(8, 8, bias=False), nn.Tanh()
    return plain(nn.Sequential(*layers, nn.LayerNorm(8, bias=False), nn.Linear(8, 3)), torch.randn(4, 5))


def convolutions() -> Subject:
    return plain(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, padding_mode="reflect"),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 12, (3, 2), stride=(2, 1), groups=4, bias=False),
            nn.BatchNorm2d(12),
            nn.Conv2d(12, 12, 3, dilation=2, padding="same", groups=12),
            nn.GroupNorm(3, 12),
            nn.Conv2d(12, 16, 1, stride=2),
            nn.GELU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 3),
        ),
        images(11),
    )


def residual() -> Subject:
    from torchvision.models import resnet18

    return plain(resnet18(num_classes=2), images(32, 2))


def residual_of_timm() -> Subject:
    from timm.models.resnet import Bottleneck, ResNet

    network = ResNet(Bottleneck, [1, 1, 0, 0], num_classes=3, channels=(4, 8, 8, 8), stem_width=8)
    return plain(network, images(32))


def residual_of_howsure() -> Subject:
    """Pools between a convolution and its normalisation."""
    return plain(ResNet9(num_classes=3, widths=(4, 4, 6, 8)), images(9))


def efficient() -> Subject:
    """Blocks of EfficientNet-Lite: depthwise, padded as TensorFlow does, normalisation with activation in place."""
    from timm.models._efficientnet_builder import decode_arch_def
    from timm.models.efficientnet import EfficientNet

    blocks = decode_arch_def([["ds_r1_k3_s1_e1_c8"], ["ir_r1_k3_s2_e4_c12"], ["ir_r2_k5_s2_e4_c16_se0.25"]])
    network = EfficientNet(blocks, num_classes=3, num_features=24, stem_size=8, pad_type="same", act_layer=nn.ReLU6)
    return plain(network, images(24))


def convnext_of_timm() -> Subject:
    from timm.models.convnext import ConvNeXt

    return plain(ConvNeXt(num_classes=3, depths=(1,) * 4, dims=(4, 8, 8, 12), ls_init_value=0.5), images(64))


def convnext_of_torchvision() -> Subject:
    from torchvision.models.convnext import CNBlockConfig, ConvNeXt

    setting = [CNBlockConfig(4, 8, 1), CNBlockConfig(8, None, 2)]
    return plain(ConvNeXt(setting, layer_scale=0.5, num_classes=3), images(16))


def convnext_of_transformers() -> Subject:
    from transformers import ConvNextConfig, ConvNextForImageClassification

    config = ConvNextConfig(
        num_channels=3, hidden_sizes=[4, 8], depths=[1, 1], num_stages=2, num_labels=3, layer_scale_init_value=0.5
    )
    network = unlike_new(ConvNextForImageClassification(config))
    return Subject(network, lambda inputs: network(inputs).logits, images(16))


def vit_of_timm() -> Subject:
    from timm.models.vision_transformer import VisionTransformer

    network = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=12, depth=2, num_heads=2, num_classes=3, init_values=0.5, reg_tokens=2
    )
    return plain(network, images(16))


def vit_of_torchvision() -> Subject:
    from torchvision.models import VisionTransformer

    network = unlike_new(VisionTransformer(16, 8, num_layers=2, num_heads=2, hidden_dim=12, mlp_dim=16, num_classes=3))
    exposed = expose_attention(network)
    return Subject(exposed, exposed, images(16), network)


def vit_of_transformers() -> Subject:
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        image_size=16,
        patch_size=8,
        num_labels=3,
    )
    network = unlike_new(ViTForImageClassification(config))
    return Subject(network, lambda inputs: network(inputs).logits, images(16))


def dinov2() -> Subject:
    from transformers import Dinov2Config, Dinov2ForImageClassification

    config = Dinov2Config(
        hidden_size=12, num_hidden_layers=1, num_attention_heads=2, image_size=16, patch_size=8, num_labels=3
    )
    network = unlike_new(Dinov2ForImageClassification(config))
    return Subject(network, lambda inputs: network(inputs).logits, images(16))


def bert() -> Subject:
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=20,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=8,
        num_labels=3,
    )
    network = unlike_new(BertForSequenceClassification(config))
    # Token 0 is padding, whose row gets no gradient.
    return Subject(network, lambda ids: network(ids).logits, torch.randint(0, 6, (4, 7)))


CHOICES = [3, 7, 1]  # the tokens that a causal language model chooses between


def gpt2() -> Subject:
    from transformers import GPT2Config, GPT2LMHeadModel

    network = unlike_new(GPT2LMHeadModel(GPT2Config(vocab_size=20, n_positions=8, n_embd=12, n_layer=2, n_head=2)))
    return Subject(network, lambda ids: network(ids).logits[:, -1, CHOICES], torch.randint(0, 6, (4, 7)))


def llama() -> Subject:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=20,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    network = unlike_new(LlamaForCausalLM(config))
    return Subject(
        network, lambda ids: network(ids, logits_to_keep=1).logits[:, -1, CHOICES], torch.randint(0, 6, (4, 7))
    )


class Recurrent(nn.Module):
    """Every module is used twice or thrice, and residual connections are added in place."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8, padding_idx=2)
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)
        self.second.weight = self.first.weight
        self.norm = nn.RMSNorm(8, eps=1e-5)
        self.last = nn.Linear(8, 3)

    def forward(self, ids: Tensor) -> Tensor:
        state = self.embedding(ids) * functional.sigmoid(self.embedding(ids.flip(1)))
        for _ in range(2):
            change = self.second(functional.silu(self.first(self.norm(state))))
            change += state
            state = change
        return self.last(state.mean(dim=1))


def recurrent() -> Subject:
    return plain(Recurrent(), torch.randint(0, 9, (4, 5)))


SUBJECTS: dict[str, Callable[[], Subject]] = {
    builder.__name__: builder
    for builder in (
        mlp,
        convolutions,
        residual,
        residual_of_timm,
        residual_of_howsure,
        efficient,
        convnext_of_timm,
        convnext_of_torchvision,
        convnext_of_transformers,
        vit_of_timm,
        vit_of_torchvision,
        vit_of_transformers,
        dinov2,
        bert,
        gpt2,
        llama,
        recurrent,
    )
}
