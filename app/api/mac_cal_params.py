"""The parameters of `calibrate` with `method: mac_cal`."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from models.calibration.mac_cal import DEFAULT
from models.calibration.masked_training import Gap, Reading


class MacCalParams(BaseModel):
    """How masks follow the gap between mean confidence and accuracy, and how the new head is trained."""

    model_config = ConfigDict(extra="forbid")

    reading: Reading = Field(
        DEFAULT.reading,
        description="how gamma moves the retention probability q after an epoch. additive: q - gamma * gap;"
        " multiplicative: gamma * q when too confident, else q / gamma;"
        " discounted: q - (confidence - gamma * accuracy)",
    )
    gamma: float = Field(DEFAULT.gamma, gt=0, le=1)
    first_q: float = Field(DEFAULT.first_q, gt=0, le=1, description="retention probability of the first epoch")
    lowest_q: float = Field(DEFAULT.lowest_q, ge=0.01, le=1, description="q never falls below; its upper bound is 1")
    width: int | None = Field(
        None,
        ge=1,
        le=8192,
        description="units between the two layers; left out: a quarter of the features, or twice the classes if that"
        " is more and there are as many features",
    )
    rescale: bool = Field(
        DEFAULT.rescale, description="divide retained weights by q in training; without it logits come out larger"
    )
    gap: Gap = Field(
        DEFAULT.gap, description="rows that the gap is measured on; on train it vanishes once they are learnt by heart"
    )
    epochs: int = Field(DEFAULT.epochs, ge=1, le=1000, description="the one of least held-out NLL is kept")
    rate: float = Field(DEFAULT.rate, gt=0, le=0.1, description="learning rate of Adam")
    batch: int = Field(DEFAULT.batch, ge=1, le=65536, description="rows of a step, at most an eighth of them")
    seed: int = Field(DEFAULT.seed, ge=0, le=2**31, description="initial weights, masks, and which rows are held out")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.lowest_q > self.first_q:
            raise ValueError(f"q starts at first_q {self.first_q:g}: lowest_q must not be above it")
        return self
