"""What each stage of a job does: type of job → stage → function. Only a job's child process imports this."""

from app.jobs import calibrate, epistemic_reference, evaluate, loss_rank
from app.jobs.language import calibrate as prompt_calibrate
from app.jobs.language import evaluate as prompt_evaluate
from app.jobs.language import few_shot, tokens
from app.jobs.language import loss_rank as prompt_loss_rank
from app.jobs.language.dispatch import by_kind, by_method
from app.jobs.language.methods import TOKEN_TEMPERATURE
from app.jobs.publishing import publish
from app.jobs.stage import Stage
from app.jobs.training import fit, prepare, train
from models.language.few_shot_recalibration import FEW_SHOT

OUTPUTS: dict[str, Stage] = {FEW_SHOT: few_shot.collect, TOKEN_TEMPERATURE: tokens.collect}
FIT: dict[str, Stage] = {FEW_SHOT: few_shot.fit_candidate, TOKEN_TEMPERATURE: tokens.fit_candidate}
PROMOTE: dict[str, Stage] = {FEW_SHOT: few_shot.promote, TOKEN_TEMPERATURE: tokens.promote}

STAGES: dict[str, dict[str, Stage]] = {
    "calibrate": {
        "outputs": by_kind(calibrate.collect, by_method(prompt_calibrate.collect, OUTPUTS)),
        "fit": by_kind(calibrate.fit_candidate, by_method(prompt_calibrate.fit_candidate, FIT)),
        "publish": publish,
        "promote": by_method(calibrate.promote, PROMOTE),
    },
    "epistemic_reference": {
        "outputs": epistemic_reference.collect,
        "fit": epistemic_reference.fit_candidate,
        "publish": publish,
        "promote": epistemic_reference.promote,
    },
    "loss_rank": {
        "outputs": by_kind(loss_rank.collect, prompt_loss_rank.collect),
        "fit": by_kind(loss_rank.fit_candidate, prompt_loss_rank.fit_candidate),
        "publish": publish,
        "promote": loss_rank.promote,
    },
    "evaluate": {
        "outputs": by_kind(evaluate.collect_all, prompt_evaluate.collect_all),
        "report": by_kind(evaluate.report, prompt_evaluate.report),
    },
    "train": {
        "prepare": prepare.prepare,
        "train": train.train,
        "outputs": fit.collect,
        "fit": fit.fit_candidate,
        "publish": publish,
        "promote": fit.promote,
    },
}
