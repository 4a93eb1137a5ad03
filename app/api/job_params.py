"""The parameters of each type of job."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api.mac_cal_params import MacCalParams
from app.api.registry_names import Method
from models.core.prompt_spec import Readout

SERVED_READOUT = (
    "of a language model: where the probability of a choice is read; left out: as the version was fitted for, or where"
    " it was not, next_token for lettered questions and else text"
)


class GateParams(BaseModel):
    """What a candidate may lose against the serving version on rows it was not fitted on, and still go live."""

    model_config = ConfigDict(extra="forbid")

    max_nll_increase: float = Field(0.0, ge=0, allow_inf_nan=False)
    max_ece_increase: float = Field(0.0, ge=0, allow_inf_nan=False)
    max_accuracy_drop: float = Field(0.01, ge=0, le=1, description="0.01 is one point of accuracy")


class CalibrateParams(BaseModel):
    """How to fit a calibrator, and whether it may go live."""

    model_config = ConfigDict(extra="forbid")

    method: Method = Field("auto", description="auto picks by cross-validated NLL and says why")
    fit_share: float = Field(0.5, ge=0.1, le=0.9, description="share of rows to fit on; the others are reported on")
    seed: int = Field(0, ge=0, le=2**31, description="which rows are which")
    version: int | None = Field(None, ge=1, description="version to start from; left out: the active one")
    promote: bool = Field(True, description="make it the active version if the gate holds")
    gate: GateParams = GateParams()
    readout: Readout | None = Field(None, description=f"{SERVED_READOUT}; calibration_direction has next_token alone")
    mac_cal: MacCalParams | None = Field(None, description="only with the method mac_cal; left out: its defaults")

    @model_validator(mode="after")
    def _of_its_method(self) -> Self:
        if self.mac_cal is not None and self.method != "mac_cal":
            raise ValueError(f"mac_cal has no meaning for the method {self.method}: leave it out, or ask for mac_cal")
        return self


class EpistemicGateParams(BaseModel):
    """What a candidate may lose against the serving version's epistemic score on rows it was not fitted on."""

    model_config = ConfigDict(extra="forbid")

    max_auroc_drop: float = Field(0.02, ge=0, le=1, description="of the AUROC of being wrong")


class EpistemicReferenceParams(BaseModel):
    """How the epistemic score takes gradients, and whether the new version may go live."""

    model_config = ConfigDict(extra="forbid")

    depth: int | None = Field(
        None, ge=2, le=10_000, description="last layers that the fast form takes gradients of; left out: as before"
    )
    directions: int | None = Field(
        None, ge=1, le=32, description="backward passes of the fast form; left out: as before"
    )
    perturbations: int | None = Field(
        None, ge=0, le=32, description="noisy copies whose gradients are averaged; left out: as before"
    )
    sigma: float | None = Field(
        None, gt=0, le=1, description="deviation of the noise, in normalised input units; left out: as before"
    )
    decay: float | None = Field(
        None, ge=0, le=100, description="λ: how fast a layer's weight grows with its depth; left out: as before"
    )
    choose: bool = Field(
        False,
        description="pick decay, and sigma if there are perturbations, by the AUROC of being wrong on the fitted rows",
    )
    exact_rows: int = Field(
        0,
        ge=0,
        le=1_000_000,
        description="rows to compute the exact form of, a backward pass a class each; 0: it gets no percentile",
    )
    fit_share: float = Field(0.5, ge=0.1, le=0.9, description="share of rows to fit on; the others are reported on")
    seed: int = Field(0, ge=0, le=2**31, description="which rows are which")
    version: int | None = Field(None, ge=1, description="version to start from; left out: the active one")
    promote: bool = Field(True, description="make it the active version if the gate holds")
    gate: EpistemicGateParams = EpistemicGateParams()

    @model_validator(mode="after")
    def _given_or_chosen(self) -> Self:
        if self.choose and (self.decay is not None or self.sigma is not None):
            raise ValueError("choose picks decay and sigma itself: leave them out, or leave choose out")
        if self.sigma is not None and self.perturbations == 0:
            raise ValueError("sigma is the noise of perturbations, of which there are to be none: leave it out")
        return self


class EvaluateParams(BaseModel):
    """Which version to judge."""

    model_config = ConfigDict(extra="forbid")

    version: int | None = Field(None, ge=1, description="left out: the active one")
    readout: Readout | None = Field(None, description=SERVED_READOUT)


class LossRankGateParams(BaseModel):
    """By how much a head has to order rows that it was not trained on better than entropy does."""

    model_config = ConfigDict(extra="forbid")

    measure: Literal["spearman", "auroc", "r_auroc"] | None = Field(
        None,
        description="r_auroc: of the nearest other row being of another class, what such a head is for, and of images"
        " alone; auroc: of being wrong; spearman: with the loss. In the last two entropy is hard to beat on rows like"
        " the classifier's own. Left out: r_auroc of images, auroc of prompts",
    )
    min_gain: float = Field(0.0, ge=-1, le=1, description="of the measure; below 0 the head may be worse by as much")


class LossRankParams(BaseModel):
    """How to train the loss-rank head, and whether the new version may go live."""

    model_config = ConfigDict(extra="forbid")

    views: int = Field(
        20, ge=1, le=1000, description="augmented views of each image to fit on; a prompt is read so many times instead"
    )
    passes: int = Field(4, ge=1, le=1000, description="how often the views are gone through; stops early by itself")
    width: int = Field(512, ge=1, le=8192, description="units of a hidden layer of the head")
    depth: int = Field(2, ge=1, le=8, description="hidden layers of the head")
    fit_share: float = Field(0.5, ge=0.1, le=0.9, description="share of rows to fit on; the others are reported on")
    seed: int = Field(0, ge=0, le=2**31, description="which rows are which, the views, and the head's first weights")
    version: int | None = Field(None, ge=1, description="version to start from; left out: the active one")
    readout: Readout | None = Field(None, description=SERVED_READOUT)
    promote: bool = Field(True, description="make it the active version if the gate holds")
    gate: LossRankGateParams = LossRankGateParams()
