"""Many scores on the same rows of one network: tables, and in words where one of them loses."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from tests.benchmarks.epistemic.detection import Detection, Draws, detection, middle_95
from tests.benchmarks.epistemic.tables import Table

Scores = Mapping[str, Tensor]

MEASURES = {"auroc": "AUROC", "aupr": "AUPR (positive: out)", "fpr95": "FPR95 (in called out where 95 % of out are)"}


@dataclass(frozen=True, slots=True)
class Comparison:
    """Scores of one network's rows by method: of the rows inside, and of each set outside."""

    subject: str
    inside: Scores
    outside: Mapping[str, Scores]

    def tables(self) -> list[Table]:
        return [self._table(field, title) for field, title in MEASURES.items()]

    def losses(self, method: str) -> list[str]:
        """A sentence a set: which methods are ahead of this one in AUROC, by how much, with the paired interval."""
        names = list(self.inside)
        draws = Draws.of(len(self.inside[method]), [len(scores[method]) for scores in self.outside.values()])
        drawn = {name: draws.aurocs(self.inside[name], self._of(name)) for name in names}
        return [
            self._loss(method, place, which, {name: drawn[name][place] - drawn[method][place] for name in names})
            for place, which in enumerate(self.outside)
        ]

    def _loss(self, method: str, place: int, which: str, leads: Scores) -> str:
        own = self._detections(method)[place].auroc
        ahead = []
        for name, lead in leads.items():
            by = self._detections(name)[place].auroc - own
            low, high = middle_95(lead)
            if low > 0:
                ahead.append((by, f"{name} by {by:.3f} ({low:.3f} to {high:.3f})"))
        told = ", ".join(text for _, text in sorted(ahead, reverse=True)) or "none"
        return f"{self.subject}, out = {which}: {method} has AUROC {own:.3f}; ahead of it: {told}."

    def _table(self, field: str, title: str) -> Table:
        rows = {}
        for name in self.inside:
            figures = [getattr(found, field) for found in self._detections(name)]
            rows[name] = [*figures, sum(figures) / len(figures)]
        return Table(f"{self.subject}: {title}", "score", [*self.outside, "mean"], rows)

    def _detections(self, name: str) -> list[Detection]:
        return [detection(self.inside[name], scores) for scores in self._of(name)]

    def _of(self, name: str) -> list[Tensor]:
        return [scores[name] for scores in self.outside.values()]
