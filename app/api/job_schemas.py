"""Request and response bodies of `/v1/jobs`: what a job is asked with, and what it shows."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.job_params import CalibrateParams, EpistemicReferenceParams, EvaluateParams, LossRankParams
from app.api.train_params import TrainParams


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


class LossRankJob(JobBase):
    """Train a head that ranks inputs by the loss to be expected; the result is a new version."""

    type: Literal["loss_rank"]
    params: LossRankParams = LossRankParams()


class EvaluateJob(JobBase):
    """Judge a version on labelled data; changes nothing."""

    type: Literal["evaluate"]
    params: EvaluateParams = EvaluateParams()


class TrainJob(JobBase):
    """Train a classifier on labelled images; the result is a version, of a new model or of one that is there."""

    type: Literal["train"]
    params: TrainParams = TrainParams()


JobRequest = Annotated[
    CalibrateJob | EpistemicReferenceJob | LossRankJob | EvaluateJob | TrainJob, Field(discriminator="type")
]


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
