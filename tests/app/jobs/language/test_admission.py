"""What is refused before it is queued: jobs, data and methods that do not go with the kind of the model."""

from dataclasses import replace

import pytest
from pydantic import TypeAdapter, ValidationError

from app.api.job_schemas import JobRequest
from app.datasets.catalog import DatasetCatalog
from app.errors import InvalidError
from app.jobs.admission import check_admission
from app.settings import Settings
from tests.fixtures.jobs import add_dataset
from tests.fixtures.labelled_data import SAMPLES
from tests.fixtures.questions import jsonl, lettered_rows, prompt_rows
from tests.fixtures.tables import outputs_table

ANSWERED = jsonl([{"prompt": f"The sea number {number} is", "completion": " blue"} for number in range(40)])
LETTERED, PROMPTS = jsonl(lettered_rows(40)), jsonl(prompt_rows(40))
FEW = ("the sea", "the sand", "the sky")  # of 57 rows each has 19
IMAGES = SAMPLES["images"]["indexed.zip"]


@pytest.fixture
def admit(store):
    settings = Settings(store=store.root, datasets=store.root.parent / "datasets")

    def admit(content=LETTERED, type="calibrate", model="tiny", name="questions.jsonl", **params):
        dataset = add_dataset(settings, name, content)
        request = {"type": type, "model": model, "dataset": dataset, "params": params}
        checked = TypeAdapter(JobRequest).validate_python(request)
        check_admission(store, DatasetCatalog.of(settings), checked)

    return admit


@pytest.mark.parametrize("method", ["auto", "temperature", "vector", "task_temperature", "calibration_direction"])
def test_methods_of_language_models(admit, method):
    admit(method=method)


def test_other_jobs_that_fit(admit):
    admit(method="token_temperature")
    admit(ANSWERED, method="token_temperature")
    admit(method="few_shot", readout="next_token")
    admit(PROMPTS, readout="text_unconditional")
    admit(PROMPTS, "evaluate", readout="next_token")
    admit(PROMPTS, "loss_rank", readout="text", gate={"measure": "spearman"})


@pytest.mark.parametrize(
    ("given", "pointer", "told"),
    [
        ({"type": "epistemic_reference"}, "/type", "epistemic_reference is for classifiers of images"),
        ({"type": "train", "content": IMAGES, "name": "i.zip"}, "/model", "tiny is a language model"),
        ({"type": "train"}, "/dataset", "has questions: send the images themselves"),
        ({"content": IMAGES, "name": "i.zip"}, "/dataset", "has no questions, and tiny is a language model"),
        ({"content": outputs_table(40), "name": "o.csv", "type": "evaluate"}, "/dataset", "has no questions"),
        ({"content": ANSWERED}, "/dataset", "has answers without choices, which are for calibrate with the method"),
        ({"content": ANSWERED, "type": "evaluate"}, "/dataset", "has answers without choices"),
        ({"method": "token_temperature", "readout": "text"}, "/params/readout", "of answers without choices"),
        ({"method": "mac_cal"}, "/params/method", "mac_cal is for classifiers of images"),
        ({"content": PROMPTS, "method": "task_temperature"}, "/params/method", "needs rows with a `task`"),
        (
            {"content": jsonl(lettered_rows(57, FEW)), "method": "task_temperature"},
            "/params/method",
            "at least 20 rows of a task, and the largest of",
        ),
        ({"content": ANSWERED, "method": "few_shot"}, "/dataset", "has answers without choices"),
        ({"content": PROMPTS, "method": "few_shot"}, "/dataset", "two tasks with 14 rows or more, and ds_"),
        ({"content": jsonl(lettered_rows(40, FEW)), "method": "few_shot"}, "/dataset", "has 1: send more rows of each"),
        ({"method": "calibration_direction", "readout": "text"}, "/params/readout", "the next token alone"),
        ({"content": jsonl(lettered_rows(39))}, "/dataset", "19 rows to report on, at least 20"),
        ({"type": "loss_rank", "fit_share": 0.4}, "/dataset", "16 rows to fit on"),
        ({"type": "loss_rank", "gate": {"measure": "r_auroc"}}, "/params/gate/measure", "auroc or spearman"),
    ],
)
def test_what_does_not_go_with_a_language_model(admit, given, pointer, told):
    if given.get("type") == "train":
        given = {**given, "held_out_share": 0.3, "report_share": 0.3}
    with pytest.raises(InvalidError) as raised:
        admit(**given)
    (error,) = raised.value.errors
    assert error["pointer"] == pointer
    assert told in error["detail"]


def test_a_readout_that_does_not_exist(admit):
    with pytest.raises(ValidationError, match="readout"):
        admit(readout="letters")


def test_slices_are_read_as_the_version_was_fitted_for(admit, store):
    fitted = store.read("tiny", 1)
    manifest = replace(fitted.manifest, report={**fitted.manifest.report, "few_shot": {}})
    store.activate("tiny", store.publish("tiny", replace(fitted, manifest=manifest)), actor="test", reason="fitted")
    admit(method="few_shot", readout="next_token")
    with pytest.raises(InvalidError, match="choices read as next_token: leave the readout out, or calibrate first"):
        admit(method="few_shot", readout="text")
