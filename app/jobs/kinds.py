"""The types of jobs: the stages of each, in order. What the stages do is in `stages.py`, which only the child imports.

Adding a type is a line here, one there, and its parameters in `app/api/job_schemas.py`.
"""

STAGE_NAMES: dict[str, tuple[str, ...]] = {
    "calibrate": ("outputs", "fit", "publish", "promote"),
    "epistemic_reference": ("outputs", "fit", "publish", "promote"),
    "loss_rank": ("outputs", "fit", "publish", "promote"),
    "evaluate": ("outputs", "report"),
    "train": ("prepare", "train", "outputs", "fit", "publish", "promote"),
}
