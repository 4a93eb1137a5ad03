"""The parameters of a job `train`."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from app.api.job_params import GateParams
from app.api.registry_names import Calibrator, LearningRule, Loss, Optimiser, Precision, Schedule, Scope
from app.api.train_param_groups import AugmentationParams, HeadParams, NoiseWarmUpParams, SourceParams
from app.jobs.training.plan import check_plan

Mean = Annotated[float, Field(ge=-10, le=10)]
Deviation = Annotated[float, Field(gt=0, le=10)]


class TrainParams(SourceParams):
    """How to train a classifier, and whether it may go live. The defaults are for training from scratch."""

    model_config = ConfigDict(extra="forbid")

    image_size: int | None = Field(
        None,
        ge=8,
        le=1024,
        description="Side of the square input, in pixels. Left out: that of the version to start from; else the images'"
        " own size where it is below 48, and for larger ones 32 for networks of howsure and 224 for others",
    )
    resize: int | None = Field(
        None, ge=8, le=2048, description="What the shorter side becomes before the centre is cut out; left out: as cut"
    )
    interpolation: Literal["bilinear", "bicubic", "lanczos", "nearest"] | None = Field(
        None, description="Left out: that of the version to start from, else bilinear"
    )
    mean: tuple[Mean, Mean, Mean] | None = Field(
        None,
        description="Of red, green and blue in [0, 1], to be subtracted; left out, and std too: those of the version to"
        " start from, else as measured on the rows that are trained on",
    )
    std: tuple[Deviation, Deviation, Deviation] | None = Field(None, description="To divide by; see mean")

    epochs: int = Field(30, ge=1, le=100_000)
    batch: int | None = Field(
        None,
        ge=2,
        le=65_536,
        description="Images of a step; left out: 128, or as few as give an epoch 25 steps, but at least 16",
    )
    optimiser: Optimiser = Field("adamw", description="sgd needs its rate chosen with care, and many epochs")
    rate: float | None = Field(
        None,
        gt=0,
        le=100,
        description="Highest learning rate. Left out: 0.1 with sgd at batch 128 and in proportion to it, 0.001 with"
        " others; a tenth of that from a version",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Of sgd")
    weight_decay: float = Field(5e-4, ge=0, le=10)
    schedule: Schedule = Field("cosine", description="How the rate falls; drops: tenfold at .43 and .71 of the steps")
    warm_up: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the rate rises")
    loss: Loss = Field("cross_entropy", description="flsd53: focal, gamma 5 where the label's probability is below .2")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="Share of a label that goes to all classes evenly")
    mixup: float = Field(0.0, ge=0, le=100, description="Alpha of the shares of two blended images; 0: none")
    augmentation: AugmentationParams = AugmentationParams()
    precision: Precision = Field("auto", description="Of the training; auto: bfloat16 where the machine is fast at it")
    devices: int | None = Field(
        None,
        ge=1,
        le=64,
        description="Processes that share each batch, one a CUDA device or, without CUDA, on the CPU; left out: every"
        " CUDA device there is, or one process",
    )
    averaging: float = Field(
        0.0, ge=0, lt=1, description="Decay of a moving average (EMA) of the weights, which becomes the result; 0: none"
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=100_000,
        description="Stop after so many epochs without a better held-out NLL, and take the best; left out: never",
    )
    scope: Scope = Field("all", description="What is trained; head: the last layer alone")
    learning_rule: LearningRule = Field("backprop", description="feedback_alignment: for networks of linear layers")
    noise_warmup: NoiseWarmUpParams | None = Field(None, description="Left out: no such phase")

    held_out_share: float = Field(
        0.1,
        gt=0,
        le=0.5,
        description="Share of rows, at least 20, that is not trained on: it gives the curves and the early stop, and"
        " calibrator and scores are fitted on it",
    )
    report_share: float = Field(
        0.1, gt=0, le=0.5, description="Share of rows, at least 20, for the report and the gate alone"
    )
    seed: int = Field(0, ge=0, le=2**31, description="Which rows are which, the first weights, and all that is drawn")
    calibrator: Calibrator = Field("auto", description="auto picks by cross-validated NLL and says why")
    loss_rank: HeadParams = HeadParams()
    promote: bool = Field(
        True, description="Make it the active version if it is the model's first one, or the gate holds"
    )
    gate: GateParams = GateParams()

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std go together: give both or neither")
        check_plan(self.model_dump())
        return self
