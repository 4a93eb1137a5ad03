"""Tables and figures of ways to calibrate, whatever the networks; and whether MaC-Cal does what it promises."""

from collections.abc import Iterator, Mapping

from tests.benchmarks.epistemic.figure import Figure
from tests.benchmarks.epistemic.tables import Table
from tests.benchmarks.experiments.results import Keyed, Results, interval, shown
from tests.benchmarks.mac_cal.bars import bar_chart
from tests.benchmarks.mac_cal.cross_fit import HIGHER_IS_BETTER
from tests.benchmarks.mac_cal.ways import MAC_CAL, NONE, TEMPERATURE

MEASURES = {
    "ece": "ECE, 15 bins",
    "ece_mass": "adaptive ECE",
    "nll": "NLL",
    "accuracy": "accuracy",
    "AUROC CIFAR-100": "AUROC, CIFAR-100",
    "AUROC SVHN, 50 digits": "AUROC, SVHN (50)",
}
FITS = {
    "confidence": "mean confidence",
    "kept epoch": "kept epoch",
    "kept q": "kept q",
    "last q": "last q",
    "refused": "refused",
}
JUDGED = ("ece", "ece_mass", "nll", "accuracy", "AUROC CIFAR-100")
MOST_OF_ECE, MOST_LOST = 0.5, 0.01  # the check of acceptance

Cells = Mapping[str, Keyed]  # by way


def measures(results: Results, title: str, cells: Cells) -> Table:
    """Mean [interval] over seeds of every measure."""
    rows = {
        name: [shown(results.mean(cell, key)) for key in (*MEASURES, *FITS)]
        for name, cell in cells.items()
        if results.values(cell, "ece")
    }
    return Table(title, "way", [*MEASURES.values(), *FITS.values()], rows)


def acceptance(results: Results, networks: Mapping[str, Cells]) -> Table:
    """Of MaC-Cal with each network: against no calibration, and against temperature scaling seed by seed."""
    rows = {
        f"{network}: {way}": _accepted(results, cells, cells[way])
        for network, cells in networks.items()
        for way in MAC_CAL
        if results.differences(cells[NONE], cells[way], "ece")
    }
    columns = ["ECE, share of none's", "accuracy lost", "seeds it holds with", "holds", "ECE less temperature's"]
    title = f"ECE at most {MOST_OF_ECE:g} of that without calibration, at most {MOST_LOST:.0%} accuracy lost"
    return Table(title, "network: way", columns, rows)


def _accepted(results: Results, cells: Cells, ours: Keyed) -> list[str | float | None]:
    gaps = results.differences(cells[NONE], ours, "ece")
    shares = [after / (after - gap) for after, gap in zip(results.values(ours, "ece"), gaps, strict=True)]
    lost = [-gap for gap in results.differences(cells[NONE], ours, "accuracy")]
    held = sum(_holds(share, loss) for share, loss in zip(shares, lost, strict=True))
    share, loss = interval(shares).value, interval(lost).value
    against = results.difference(cells[TEMPERATURE], ours, "ece")
    told = None if against is None else f"{against}, lower in {against.lower} of {against.pairs}"
    return [share, f"{loss:+.4f}", f"{held} of {len(shares)}", "yes" if _holds(share, loss) else "no", told]


def _holds(share: float, loss: float) -> bool:
    return share <= MOST_OF_ECE and loss <= MOST_LOST


def winners(results: Results, network: str, cells: Cells) -> str:
    """Which way has the best mean, measure by measure, with the best of MaC-Cal and temperature scaling beside it."""
    told = []
    for key in JUDGED:
        means = {way: mean.value for way, cell in cells.items() if (mean := results.mean(cell, key)) is not None}
        sign = 1 if key in HIGHER_IS_BETTER or key.startswith("AUROC") else -1
        ranked = sorted(means, key=lambda way: sign * means[way], reverse=True)
        named = dict.fromkeys([*ranked[:1], *[way for way in ranked if way in MAC_CAL][:1], TEMPERATURE])
        told.append(f"{MEASURES[key]}: " + ", ".join(f"{way} {means[way]:.4f}" for way in named if way in means))
    return f"Best means with {network}, then the best of MaC-Cal and temperature scaling. {'; '.join(told)}."


def charts(results: Results, networks: Mapping[str, Cells]) -> Iterator[Figure]:
    """ECE and NLL of every way with every network."""
    ways = next(iter(networks.values()))
    for key in ("ece", "nll"):
        bars = {way: {network: (cells[way], key) for network, cells in networks.items()} for way in ways}
        found = bar_chart(results, f"{MEASURES[key]}, test images", MEASURES[key], bars)
        if found is not None:
            yield found
