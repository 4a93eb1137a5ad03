"""A stage is done one way for a classifier of images and another way for a language model, or for its free answers."""

from typing import Any

from app.jobs.bench import Bench
from app.jobs.language.methods import TOKEN_TEMPERATURE
from app.jobs.stage import Stage, StageContext


def by_kind(images: Stage, prompts: Stage) -> Stage:
    """A stage that looks at the version that the job starts from."""

    def stage(context: StageContext) -> dict[str, Any]:
        bench = Bench(context)
        manifest = bench.store.read_manifest(context.spec.model, bench.base)
        return (images if manifest.prompts is None else prompts)(context)

    return stage


def by_method(choices: Stage, tokens: Stage) -> Stage:
    """A stage that looks at the method of a job `calibrate`."""

    def stage(context: StageContext) -> dict[str, Any]:
        return (tokens if context.spec.params["method"] == TOKEN_TEMPERATURE else choices)(context)

    return stage
