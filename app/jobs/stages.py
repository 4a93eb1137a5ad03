"""What each stage of a job does: type of job → stage → function. Only a job's child process imports this."""

from app.jobs import calibrate, epistemic_reference, evaluate, loss_rank
from app.jobs.publishing import publish
from app.jobs.stage import Stage
from app.jobs.training import fit, prepare, train

STAGES: dict[str, dict[str, Stage]] = {
    "calibrate": {
        "outputs": calibrate.collect,
        "fit": calibrate.fit_candidate,
        "publish": publish,
        "promote": calibrate.promote,
    },
    "epistemic_reference": {
        "outputs": epistemic_reference.collect,
        "fit": epistemic_reference.fit_candidate,
        "publish": publish,
        "promote": epistemic_reference.promote,
    },
    "loss_rank": {
        "outputs": loss_rank.collect,
        "fit": loss_rank.fit_candidate,
        "publish": publish,
        "promote": loss_rank.promote,
    },
    "evaluate": {"outputs": evaluate.collect_all, "report": evaluate.report},
    "train": {
        "prepare": prepare.prepare,
        "train": train.train,
        "outputs": fit.collect,
        "fit": fit.fit_candidate,
        "publish": publish,
        "promote": fit.promote,
    },
}
