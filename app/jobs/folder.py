"""The folder of a job, below `settings.jobs`: its specification, its log, and what its stages leave for each other."""

import re
import shutil
from pathlib import Path

JOB_ID = re.compile(r"job_[0-9a-f]{1,64}")
KEPT = ("report", "stages")


def folder_of(root: Path, job: str) -> Path:
    """Raises ValueError for what is not a job's id: ids come out of a database, and what is here gets deleted."""
    if not JOB_ID.fullmatch(job):
        raise ValueError(f"{job!r} is not the id of a job")
    return root / job


def tidy(folder: Path) -> None:
    """Keep the small files that a reader may want; the rest was for going on after an interruption."""
    for part in folder.glob("*"):
        if part.is_dir() and part.name not in KEPT:
            shutil.rmtree(part, ignore_errors=True)
