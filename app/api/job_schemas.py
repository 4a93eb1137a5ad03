"""Request and response bodies of `/v1/jobs`: the parameters of each type of job, and what a job shows."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from models.calibration import CALIBRATORS

METHODS = ("auto", *CALIBRATORS)


class GateParams(BaseModel):
    """What a candidate may lose against the serving version on rows it was not fitted on, and still go live."""

    model_config = ConfigDict(extra="forbid")

    max_nll_increase: float = Field(0.0, ge=0)
    max_ece_increase: float = Field(0.0, ge=0)
    max_accuracy_drop: float = Field(0.01, ge=0, le=1, description="0.01 is one point of accuracy")


class CalibrateParams(BaseModel):
    """How to fit a calibrator, and whether it may go live."""

    model_config = ConfigDict(extra="forbid")

    method: str = Field(
        "auto",
        description="auto picks by cross-validated NLL and says why",
        json_schema_extra={"enum": list(METHODS)},
    )
    fit_share: float = Field(0.5, ge=0.1, le=0.9, description="share of rows to fit on; the others are reported on")
    seed: int = Field(0, ge=0, le=2**31, description="which rows are which")
    version: int | None = Field(None, ge=1, description="version to start from; left out: the active one")
    promote: bool = Field(True, description="make it the active version if the gate holds")
    gate: GateParams = GateParams()

    @field_validator("method")
    @classmethod
    def _known(cls, value: str) -> str:
        if value not in METHODS:
            raise ValueError(f"there is no calibrator {value!r}; there are: {', '.join(METHODS)}")
        return value


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


class JobBase(BaseModel):
    """What every job says."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=100)
    dataset: str = Field(max_length=100, description="Id of a dataset")
    priority: int = Field(10, ge=1, le=1000, description="Among the waiting jobs of a model the lowest runs first")


class CalibrateJob(JobBase):
    """Fit a calibrator on labelled data; the result is a new version."""

    type: Literal["calibrate"]
    params: CalibrateParams = CalibrateParams()


class EpistemicReferenceJob(JobBase):
    """Fit the epistemic score anew on labelled images; the result is a new version."""

    type: Literal["epistemic_reference"]
    params: EpistemicReferenceParams = EpistemicReferenceParams()


class EvaluateJob(JobBase):
    """Judge a version on labelled data; changes nothing."""

    type: Literal["evaluate"]
    params: EvaluateParams = EvaluateParams()


JobRequest = Annotated[CalibrateJob | EpistemicReferenceJob | EvaluateJob, Field(discriminator="type")]


class JobCard(BaseModel):
    """A job and how far it is. `result` is set when it has succeeded, `error` when it has failed."""

    id: str
    object: Literal["job"] = "job"
    type: str
    model: str
    dataset: str
    params: dict[str, Any]
    priority: int
    created_by: str
    state: Literal["queued", "running", "cancelling", "cancelled", "succeeded", "failed"]
    progress: float = Field(ge=0, le=1)
    message: str
    metrics: dict[str, float]
    result: dict[str, Any] | None
    error: str | None
    attempts: int = Field(description="How often a worker began, or went on with it after another one's end")
    created_at: float = Field(description="Seconds since 1970, as all times of a job")
    started_at: float | None
    finished_at: float | None


class JobList(BaseModel):
    """A page of jobs, newest first."""

    object: Literal["list"] = "list"
    data: list[JobCard]
    has_more: bool
    first_id: str | None
    last_id: str | None
