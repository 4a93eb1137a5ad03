"""A stage is done one way for a classifier of images and another way for a language model."""

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
