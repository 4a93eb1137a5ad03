"""How a job's new version comes into the store, and into service: the end of every type of job that makes one."""

import shutil
from collections.abc import Mapping
from typing import Any

from app.jobs.bench import Bench
from app.jobs.stage import StageContext
from models.core.checkpoint import Version, read_version, write_version

FOLDER = "version"


def keep(context: StageContext, version: Version) -> None:
    """Put the candidate into the job's folder, in the place of what an attempt before may have left there."""
    folder, beside = context.folder / FOLDER, context.folder / f"{FOLDER}.tmp"
    for left in (folder, beside):
        shutil.rmtree(left, ignore_errors=True)
    beside.mkdir()
    write_version(beside, version)
    beside.rename(folder)


def kept(context: StageContext) -> Version:
    """The candidate."""
    return read_version(context.folder / FOLDER)


def publish(context: StageContext) -> dict[str, Any]:
    """Into the store, once: a version that is there already keeps its number."""
    number = Bench(context).store.publish(context.spec.model, kept(context))
    context.report(0.98, f"published as version {number}")
    context.log(f"published as version {number}")
    return {"version": number}


def promote_kept(context: StageContext, gate: Mapping[str, Any]) -> dict[str, Any]:
    """Make the candidate the active version, if the gate has `held` and nobody has moved the pointer meanwhile."""
    bench, spec = Bench(context), context.spec
    version = bench.store.publish(spec.model, kept(context))
    reason = f"job {spec.id}"
    active = bench.store.active(spec.model)
    if any(move.version == version and move.reason.startswith(reason) for move in active.history):
        return {"promoted": True, "why": "the gate held"}
    why = _objection(bench, active.version, gate)
    if why is None:
        told = {"actor": spec.created_by, "reason": f"{reason}: the gate held"}
        now = bench.store.activate(spec.model, version, instead_of=bench.base, **told).version
        why = None if now == version else _moved(bench, now)
    context.log(f"version {version} is active now" if why is None else f"version {version} stays a candidate: {why}")
    return {"promoted": why is None, "why": why or "the gate held"}


def _objection(bench: Bench, active: int, gate: Mapping[str, Any]) -> str | None:
    if not bench.spec.params["promote"]:
        return "the job was not to promote"
    if not gate["held"]:
        return "; ".join(gate["reasons"])
    if active != bench.base:
        return _moved(bench, active)
    return None


def _moved(bench: Bench, active: int) -> str:
    return f"version {active} is the active one, and the job compared with version {bench.base}"
