"""A stage is done one way for a classifier of images and another way for a language model, or by some methods."""

from collections.abc import Mapping
from typing import Any

from app.jobs.bench import Bench
from app.jobs.stage import Stage, StageContext


def by_kind(images: Stage, prompts: Stage) -> Stage:
    """A stage that looks at the version that the job starts from."""

    def stage(context: StageContext) -> dict[str, Any]:
        bench = Bench(context)
        manifest = bench.store.read_manifest(context.spec.model, bench.base)
        return (images if manifest.prompts is None else prompts)(context)

    return stage


def by_method(calibrators: Stage, others: Mapping[str, Stage]) -> Stage:
    """A stage that looks at the method of a job `calibrate`: `others` are what is no calibrator of choices."""

    def stage(context: StageContext) -> dict[str, Any]:
        return others.get(context.spec.params["method"], calibrators)(context)

    return stage
