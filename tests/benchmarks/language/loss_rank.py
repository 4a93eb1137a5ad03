"""A loss-rank head for one set of prompts, as a job `loss_rank` trains it to which no parameters are sent."""

from app.api.job_params import LossRankParams
from app.jobs.loss_rank import head_plan, held_out
from models.language.layer_study_part import ReadPart
from models.language.pipeline import language_dimensions
from models.training.loss_rank_head import TrainedHead
from models.training.prompts.loss_rank import train_on_prompts

PARAMS = LossRankParams().model_dump()
PLAN = head_plan(PARAMS)


def trained(part: ReadPart) -> TrainedHead:
    held = held_out([str(place) for place in range(len(part.labels))], PLAN.seed)
    dimensions, times = language_dimensions(part.model), PARAMS["views"]
    return train_on_prompts(part.answers(), part.labels, held, times, dimensions, PLAN, None, lambda *told: None)
