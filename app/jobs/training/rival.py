"""The version that serves when a job `train` begins: the new one is compared with it, where it has the same classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.jobs.bench import Bench
from app.jobs.training.split import split_of
from models.training.build import calibrated, with_head
from models.training.judged import judge
from models.training.labelled_outputs import LabelledOutputs


class Rival:
    """`bench` is that of the new version, on whose rows the rival is judged."""

    def __init__(self, bench: Bench, number: int) -> None:
        version = bench.store.read(bench.spec.model, number)
        # Its scores are not asked for, so it needs no backward pass.
        self.bench = bench.with_version(version).with_plan(None)
        self.number = number
        self.is_comparable = set(version.manifest.classes) == set(bench.manifest.classes)

    def collect(self, precision: str, begin: float, share: float) -> None:
        """Run it over the rows; the job's progress goes up from `begin` by `share`."""
        self.bench.collect_in(self._served(precision), begin, share)

    def measures(self, precision: str, names: Sequence[str]) -> dict[str, Any]:
        """Every measure of its calibrated answers for these rows."""
        _, found = self.bench.collected(self._served(precision), names)
        network = self.bench.network(self._served(precision))
        outputs = with_head(network, found.outputs)
        logits = calibrated(self.bench.calibrator(network), outputs)
        judged = judge(LabelledOutputs(outputs, found.labels), logits, self.bench.spec.params["seed"])
        return judged.to_dict()

    def note(self, names: Sequence[str]) -> str:
        """What favours it on these rows; nothing where it saw none of them."""
        before = split_of(self.bench.manifest, self.bench.whole.sha256)
        seen = 0 if before is None else len(set(before.parts(self.bench.whole.names)[2]) & set(names))
        return f"; version {self.number} was trained on {seen} of them, which favours it" if seen else ""

    def _served(self, precision: str) -> str:
        """The new version's precision, else the first that the rival was fitted in."""
        fitted = self.bench.manifest.precisions
        return precision if precision in fitted else fitted[0]


def with_rival(evaluations: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Evaluations of one precision, those to report with the rival's measures beside."""
    return [{**each, "active": found} if each["role"] == "report" else dict(each) for each in evaluations]
