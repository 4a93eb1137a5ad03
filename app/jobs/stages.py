"""What each stage of a job does: type of job → stage → function. Only a job's child process imports this."""

from app.jobs.calibrate import collect, fit_candidate, promote, publish
from app.jobs.evaluate import collect_all, report
from app.jobs.stage import Stage

STAGES: dict[str, dict[str, Stage]] = {
    "calibrate": {"outputs": collect, "fit": fit_candidate, "publish": publish, "promote": promote},
    "evaluate": {"outputs": collect_all, "report": report},
}
