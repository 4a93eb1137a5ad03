"""How a job's new version comes into the store, and into service: the end of every type of job that makes one."""

import shutil
from collections.abc import Mapping
from typing import Any

from app.jobs.bench import Bench
from app.jobs.stage import StageContext
from models.core.checkpoint import Version, read_version, write_version

FOLDER = "version"


def keep(context: StageContext, version: Version, name: str = FOLDER) -> None:
    """Put the candidate into the job's folder, in the place of what an attempt before may have left there."""
    folder, beside = context.folder / name, context.folder / f"{name}.tmp"
    for left in (folder, beside):
        shutil.rmtree(left, ignore_errors=True)
    beside.mkdir()
    write_version(beside, version)
    beside.rename(folder)


def kept(context: StageContext, name: str = FOLDER) -> Version:
    """The candidate."""
    return read_version(context.folder / name)


def publish(context: StageContext) -> dict[str, Any]:
    """Into the store, once: a version that is there already keeps its number."""
    number = Bench(context).store.publish(context.spec.model, kept(context))
    context.report(0.98, f"published as version {number}")
    context.log(f"published as version {number}")
    return {"version": number}


def promote_kept(context: StageContext, gate: Mapping[str, Any]) -> dict[str, Any]:
    """Make the candidate the active version, if the gate has `held` and nobody has moved the pointer meanwhile."""
    refusal = None if gate["held"] else "; ".join(gate["reasons"])
    return promote_over(context, Bench(context).base, refusal, "the gate held")


def promote_over(context: StageContext, base: int | None, refusal: str | None, because: str) -> dict[str, Any]:
    """Make the candidate the active version in the place of `base`, None where the model had no active version.

    It stays a candidate where there is a `refusal`, and where another version has become the active one meanwhile.
    """
    store, spec = Bench(context).store, context.spec
    version = store.publish(spec.model, kept(context))
    reason = f"job {spec.id}"
    active = store.active(spec.model) if spec.model in store.models() else None
    if active and any(move.version == version and move.reason.startswith(reason) for move in active.history):
        return {"promoted": True, "why": because}
    why = refusal if spec.params["promote"] else "the job was not to promote"
    if why is None:
        # Of a model without active version, its own number: another version that is there by now stays.
        before = version if base is None else base
        told = {"actor": spec.created_by, "reason": f"{reason}: {because}"}
        now = store.activate(spec.model, version, instead_of=before, **told).version
        why = None if now == version else _moved(base, now)
    context.log(f"version {version} is active now" if why is None else f"version {version} stays a candidate: {why}")
    return {"promoted": why is None, "why": why or because}


def _moved(base: int | None, active: int) -> str:
    compared = "there was none before" if base is None else f"the job compared with version {base}"
    return f"version {active} is the active one, and {compared}"
