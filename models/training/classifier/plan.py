"""How a classifier is trained: everything that decides its weights, but for the network, the rows and the machine."""

from dataclasses import dataclass, field

from models.core.errors import UnknownNameError
from models.training.classifier.losses import LOSSES
from models.training.classifier.optimisers import OPTIMISERS
from models.training.classifier.schedules import SCHEDULES

SCOPES = ("all", "head")
RULES = ("backprop", "feedback_alignment")
PRECISIONS = ("float32", "bfloat16")
DISTRIBUTIONS = ("normal", "uniform")


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Of each image in each epoch anew; lengths are shares of the side. Nothing by default."""

    flip: float = 0.0  # probability of left and right being swapped
    shift: float = 0.0  # most that the image is moved by, in both directions; what is missing is reflected
    cutout: float = 0.0  # side of a grey square at a random place

    def __post_init__(self) -> None:
        for name in ("flip", "shift", "cutout"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"augmentation.{name} is a share in [0, 1], got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class NoiseWarmUp:
    """The noise phase before the data phase (arXiv 2412.17411); the defaults are those of its figures.

    `steps` is the most it takes: it stops by itself when confidence on fresh noise is at chance and the loss is flat,
    unless `stop` is False. `scope` is what it trains.
    """

    steps: int = 3750
    batch: int = 128
    optimiser: str = "adam"
    rate: float = 1e-4
    momentum: float = 0.9
    weight_decay: float = 0.0
    distribution: str = "normal"
    deviation: float = 1.0  # of a pixel, in normalised units
    scope: str = "all"
    stop: bool = True

    def __post_init__(self) -> None:
        _known("distribution", self.distribution, DISTRIBUTIONS)
        _known("scope", self.scope, SCOPES)
        _known("optimiser", self.optimiser, OPTIMISERS)
        _positive(self, "steps", "rate", "deviation")
        if self.batch < 2:
            raise ValueError(f"noise_warmup.batch must be at least 2, for the batch norms, got {self.batch}")


@dataclass(frozen=True, slots=True)
class TrainPlan:
    """See the fields. `noise_warmup` comes first where there is one, with an optimiser of its own."""

    epochs: int = 30
    batch: int = 128
    optimiser: str = "sgd"
    rate: float = 0.1
    momentum: float = 0.9  # of sgd
    weight_decay: float = 5e-4
    schedule: str = "cosine"
    warm_up: float = 0.1  # share of the steps in which the rate rises
    loss: str = "cross_entropy"
    label_smoothing: float = 0.0
    mixup: float = 0.0  # alpha of Beta(alpha, alpha), which gives the shares of two images; 0: no mixing
    augmentation: Augmentation = field(default_factory=Augmentation)
    precision: str = "bfloat16"
    averaging: float = 0.0  # decay of the moving average of the weights, which is then the result; 0: none
    patience: int | None = None  # epochs without a better held-out NLL before it stops; the best weights are kept
    scope: str = "all"
    learning_rule: str = "backprop"
    noise_warmup: NoiseWarmUp | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _known("optimiser", self.optimiser, OPTIMISERS)
        _known("schedule", self.schedule, SCHEDULES)
        _known("loss", self.loss, LOSSES)
        _known("precision", self.precision, PRECISIONS)
        _known("scope", self.scope, SCOPES)
        _known("learning_rule", self.learning_rule, RULES)
        _positive(self, "epochs", "rate")
        if self.batch < 2:
            raise ValueError(f"batch must be at least 2, since batch norms need two rows, got {self.batch}")
        for name in ("warm_up", "label_smoothing", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1), got {getattr(self, name)}")
        if self.mixup < 0 or self.weight_decay < 0:
            raise ValueError("mixup and weight_decay must not be below 0")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience must be at least 1 epoch, got {self.patience}")
        if self.label_smoothing and self.loss != "cross_entropy":
            raise ValueError(f"label_smoothing goes with cross_entropy, not with {self.loss}")


def _known(kind: str, name: str, known: object) -> None:
    if name not in known:  # type: ignore[operator]
        raise UnknownNameError(kind, name, known)  # type: ignore[arg-type]


def _positive(plan: object, *names: str) -> None:
    for name in names:
        if not getattr(plan, name) > 0:
            raise ValueError(f"{name} must be above 0, got {getattr(plan, name)}")
