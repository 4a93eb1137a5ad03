"""Results of an experiment as three files: every run as CSV, tables as Markdown, figures as SVG."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from models.core.atomic import write_bytes
from tests.benchmarks.epistemic.tables import Report
from tests.benchmarks.experiments.experiment import Experiment
from tests.benchmarks.experiments.journal import Run
from tests.benchmarks.experiments.results import Results
from tests.benchmarks.loss_rank.panels import panels


def write(experiment: Experiment, runs: Sequence[Run], command: str, out: Path) -> None:
    """`NAME.csv`, `NAME.md` and `NAME.svg` in `out`; the last one only where there is something to draw."""
    out.mkdir(parents=True, exist_ok=True)
    findings = experiment.findings(Results(runs))
    done = f"{len(runs)} of {len(experiment.tasks)}, {sum(run.seconds for run in runs) / 3600:.2f} hours on one core"
    report = Report(
        experiment.name,
        experiment.title,
        command,
        {**experiment.about, "runs": done},
        findings.tables,
        findings.words,
    )
    write_bytes(out / f"{experiment.name}.csv", _csv(runs).encode())
    write_bytes(out / f"{experiment.name}.md", report.markdown().encode())
    if findings.figures:
        write_bytes(out / f"{experiment.name}.svg", panels(findings.figures).encode())


def _csv(runs: Sequence[Run]) -> str:
    """A line a run; a figure that a run does not have is left empty."""
    names = list(dict.fromkeys(name for run in runs for name in run.figures))
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["cell", "seed", *names, "seconds"])
    for run in sorted(runs, key=lambda run: (run.key, run.seed)):
        table.writerow([run.key, run.seed, *(run.figures.get(name, "") for name in names), run.seconds])
    return text.getvalue()
