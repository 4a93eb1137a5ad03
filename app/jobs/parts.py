"""The rows that a job fits on and the others, which it reports on, with the outputs for them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.jobs.bench import Bench
from app.jobs.training.split import trained_count
from models.core.errors import DataError
from models.core.manifest import DataUse
from models.data.dataset import OutputDataset
from models.data.splits import split
from models.training.build import Part

FEWEST_ROWS = 20


def fit_and_report(bench: Bench, precision: str) -> tuple[Part, Part]:
    """By the job's `fit_share` and `seed`. Raises DataError where either has too few rows."""
    params, names = bench.spec.params, bench.data.names
    sizes = round(len(names) * params["fit_share"])
    fitting, judged = split(names, params["seed"], sizes, len(names) - sizes)
    fit_part = part_of(bench, precision, "fit", fitting, "fitted on these rows: not evidence")
    return fit_part, part_of(bench, precision, "report", judged, evidence(bench, fit_part))


def part_of(bench: Bench, precision: str, role: str, names: Sequence[str], note: str) -> Part:
    """These rows, without those that could not be read. Raises DataError where too few are left."""
    kept, found = bench.collected(precision, names)
    if len(kept) < FEWEST_ROWS:
        raise DataError(f"{len(kept)} rows to {role} on, at least {FEWEST_ROWS} are needed: send more rows")
    return Part(bench.data.name, bench.data.sha256, role, kept, found, note)


def evidence(bench: Bench, fitting: Part) -> str:
    """How far to trust a figure on the rows that are reported on."""
    told = "rows of the same data, not fitted on"
    if fitted_on_others(bench.manifest.data, fitting.use()):
        told += "; the serving version was fitted on some of them, which favours it"
    if trained := trained_count(bench.manifest, fitting.sha256):
        told += f", without the {trained} that the network was trained on"
    if isinstance(bench.data, OutputDataset):
        told += "; outputs as given, which do not say in what precision they were computed"
    return told


def fitted_on_others(before: Iterable[DataUse], fitting: DataUse) -> bool:
    """Whether other rows of the same data were fitted on `before`: then some of those reported on may be among them."""
    fitted = [use for use in before if use.role == "fit" and use.sha256 == fitting.sha256]
    return any(use.fingerprint != fitting.fingerprint for use in fitted)


def uses_of(part: Mapping[str, Any]) -> list[DataUse]:
    """The data of a part of a report that has uses of its own."""
    return [DataUse(**use) for use in part.get("data", ())]
