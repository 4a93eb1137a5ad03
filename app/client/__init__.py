"""Python clients of the HTTP interface: `Client`, and `AsyncClient` with the same methods to await.

    with Client() as client:
        for image in client.score(["cat.jpg"]).scored:
            ...  # image.label, image.confidence, image.uncertainty["entropy"].percentile

        job = client.submit("calibrate", "efficientnet-lite0", client.add_dataset("photographs.zip").id)
        for event in client.watch(job.id):
            ...  # event.kind, event.data

They differ only in how they wait and send; `calls.py` and `job_calls.py` have what they send, `replies.py` and
the other `…_replies.py` what comes back.
"""

from app.client.asynchronous import AsyncClient
from app.client.blocking import Client
from app.client.calls import Image, Prompt
from app.client.connection import DEFAULT_URL
from app.client.embed_replies import EmbeddedImage, EmbedReply
from app.client.job_replies import BadRow, Dataset, Job, JobEvent
from app.client.model_replies import (
    Activation,
    Calibration,
    Evaluation,
    Measures,
    ModelCard,
    Move,
    Readiness,
    Registration,
    Versions,
    VersionSummary,
)
from app.client.prompt_replies import (
    AnsweredPrompt,
    AnswerToken,
    FailedPrompt,
    PromptSlice,
    PromptsReply,
    ScoredPrompt,
)
from app.client.replies import (
    FailedImage,
    HowsureApiError,
    HowsureConnectionError,
    Problem,
    ScoredImage,
    ScoreReply,
    TopClass,
    Uncertainty,
)
from app.client.upload import Data

__all__ = [
    "DEFAULT_URL",
    "Activation",
    "AnswerToken",
    "AnsweredPrompt",
    "AsyncClient",
    "BadRow",
    "Calibration",
    "Client",
    "Data",
    "Dataset",
    "EmbedReply",
    "EmbeddedImage",
    "Evaluation",
    "FailedImage",
    "FailedPrompt",
    "HowsureApiError",
    "HowsureConnectionError",
    "Image",
    "Job",
    "JobEvent",
    "Measures",
    "ModelCard",
    "Move",
    "Problem",
    "Prompt",
    "PromptSlice",
    "PromptsReply",
    "Readiness",
    "Registration",
    "ScoreReply",
    "ScoredImage",
    "ScoredPrompt",
    "TopClass",
    "Uncertainty",
    "VersionSummary",
    "Versions",
]
