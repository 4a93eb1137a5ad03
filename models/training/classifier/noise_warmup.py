"""The noise phase of arXiv 2412.17411: a network learns, on noise with labels that mean nothing, that it knows nothing.

Loss falls to log C, accuracy stays at chance, confidence goes to 1 / C. Inputs and labels are new in every batch.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models.training.classifier.feedback import learning_rule
from models.training.classifier.judging import in_precision, judge, logits_of
from models.training.classifier.optimisers import OPTIMISERS
from models.training.classifier.plan import NoiseWarmUp, TrainPlan
from models.training.classifier.randomness import generator_for, seed_for
from models.training.classifier.rows import PixelRows
from models.training.classifier.saved import Saved, network_state, optimiser_state, part, restore_optimiser, under
from models.training.classifier.scope import trained_part, training_mode
from models.training.classifier.sharing import Sharing

CHECK_STEPS = 250  # an epoch of the paper's noise phase
CHECK_ROWS = 1000
AT_CHANCE = 0.02  # ours: confidence on fresh noise may be that far above 1 / C
FLAT = 0.005  # ours: the mean loss of CHECK_STEPS steps may be that share below that of those before

Told = Callable[[int, int, dict[str, float] | None], None]  # steps done, at most, and a check that followed, if any


@dataclass(frozen=True, slots=True)
class NoiseCheck:
    """After `step` steps: mean loss since the check before, and how sure the network is of fresh noise.

    `image_confidence` is that on held-out images, which it has never seen.
    """

    step: int
    loss: float | None
    confidence: float
    image_confidence: float


@dataclass(frozen=True, slots=True)
class NoiseRecord:
    """`checks` has the untrained network first. `stopped` says why it ended."""

    checks: tuple[NoiseCheck, ...]
    stopped: str

    def to_dict(self) -> dict[str, Any]:
        return {"stopped": self.stopped, "checks": [asdict(check) for check in self.checks]}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        return cls(tuple(NoiseCheck(**check) for check in found["checks"]), found["stopped"])


def warm_up(
    network: nn.Module,
    head: str,
    held_out: PixelRows,
    plan: TrainPlan,
    device: torch.device,
    saved: Saved,
    told: Told,
    sharing: Sharing,
) -> NoiseRecord:
    """Train in place by `plan.noise_warmup`; `told` is called after every step."""
    assert plan.noise_warmup is not None
    phase = plan.noise_warmup
    with (
        trained_part(network, phase.scope, head) as parameters,
        learning_rule(network, plan.learning_rule, plan.seed),
    ):
        return _Phase(network, parameters, held_out, plan, phase, device, sharing).run(saved, told)


class _Phase:
    def __init__(
        self,
        network: nn.Module,
        parameters: list[nn.Parameter],
        held_out: PixelRows,
        plan: TrainPlan,
        phase: NoiseWarmUp,
        device: torch.device,
        sharing: Sharing,
    ) -> None:
        self.network, self.held_out, self.plan, self.phase, self.device = network, held_out, plan, phase, device
        self.sharing, self.shared = sharing, sharing.wrap(network)
        self.rows = len(sharing.share(torch.arange(phase.batch)))
        self.optimiser = OPTIMISERS[phase.optimiser](parameters, phase.rate, phase.momentum, phase.weight_decay)
        network.eval()  # so that counting the classes moves no batch statistics
        self.classes = self._logits(network, self._noise(2, "classes")).shape[1]
        self.step = 0
        self.losses: list[float] = []  # since the last check
        self.checks: tuple[NoiseCheck, ...] = ()

    def run(self, saved: Saved, told: Told) -> NoiseRecord:
        self._resume(saved)
        if not self.checks:
            self._check()
        while (reason := self._why_over()) is None:
            self.losses.append(self._train())
            self.step += 1
            checked = self.step % CHECK_STEPS == 0 or self.step == self.phase.steps
            if checked:
                self._check()
            if self.sharing.first and (checked or saved.is_due()):
                self._save(saved)
            told(self.step, self.phase.steps, asdict(self.checks[-1]) if checked else None)
        return NoiseRecord(self.checks, reason)

    def _train(self) -> float:
        numbers = (self.step, *self.sharing.own)
        generator = generator_for(self.plan.seed, "noise labels", *numbers)
        labels = torch.randint(0, self.classes, (self.rows,), generator=generator).to(self.device)
        torch.manual_seed(seed_for(self.plan.seed, "noise dropout", *numbers))
        training_mode(self.network, self.phase.scope)
        loss = cross_entropy(self._logits(self.shared, self._noise(self.rows, "noise", *numbers)), labels)
        loss = self.sharing.weighted(loss, self.rows, self.phase.batch)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return float(self.sharing.total(loss.detach())) / self.sharing.count

    def _noise(self, rows: int, purpose: str, *numbers: int) -> Tensor:
        generator = generator_for(self.plan.seed, purpose, *numbers)
        shape = (rows, 3, self.held_out.spec.height, self.held_out.spec.width)
        if self.phase.distribution == "normal":
            noise = torch.randn(shape, generator=generator)
        else:
            noise = (torch.rand(shape, generator=generator) - 0.5) * math.sqrt(12)
        return (noise * self.phase.deviation).to(self.device).contiguous(memory_format=torch.channels_last)

    def _logits(self, network: nn.Module, images: Tensor) -> Tensor:
        with in_precision(self.device, self.plan.precision):
            return logits_of(network(images))

    def _check(self) -> None:
        self.checks = (*self.checks, self.sharing.agreed(self._checked))
        self.losses = []

    @torch.no_grad()
    def _checked(self) -> NoiseCheck:
        self.network.eval()
        noise = self._noise(CHECK_ROWS, "check", self.step)
        confidence = float(self._logits(self.network, noise).softmax(dim=1).amax(dim=1).mean())
        images = judge(self.network, self.held_out, self.device, self.plan.precision).confidence
        loss = sum(self.losses) / len(self.losses) if self.losses else None
        return NoiseCheck(self.step, loss, confidence, images)

    def _why_over(self) -> str | None:
        if self.step >= self.phase.steps:
            return f"all {self.phase.steps} steps are done"
        if not self.phase.stop or len(self.checks) < 3 or self.step != self.checks[-1].step:
            return None
        before, last = self.checks[-2], self.checks[-1]
        assert before.loss is not None
        assert last.loss is not None
        if last.confidence <= 1 / self.classes + AT_CHANCE and last.loss >= (1 - FLAT) * before.loss:
            return f"confidence on fresh noise is at chance and the loss is flat after {self.step} steps"
        return None

    def _save(self, saved: Saved) -> None:
        tensors = under("network", network_state(self.network)) | under("optimiser", optimiser_state(self.optimiser))
        checks = [asdict(check) for check in self.checks]
        saved.save(tensors, {"step": self.step, "losses": self.losses, "checks": checks})

    def _resume(self, saved: Saved) -> None:
        found = saved.load()
        if found is None:
            return
        tensors, state = found
        self.network.load_state_dict(part("network", tensors))
        restore_optimiser(self.optimiser, part("optimiser", tensors))
        self.step, self.losses = state["step"], state["losses"]
        self.checks = tuple(NoiseCheck(**check) for check in state["checks"])
