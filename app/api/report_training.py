"""The part of a report on how the network was trained: curves by epoch, the warm-up on noise, and the recipe."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from app.api.diagram import Chart, Point
from app.api.report_tables import table, table_row

TRAINED, HELD_OUT, CONFIDENCE = "#b45309", "#0f766e", "#6d28d9"
CEILINGS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
Line = tuple[str, str, Sequence[float]]  # colour, what it is, values


def training_section(found: Mapping[str, Any]) -> str:
    """`plan`, `network`, `rows`, `curve`, `noise`, `stopped`, and `without_loss_rank` where there is no such head."""
    missing = found.get("without_loss_rank")
    return (
        f'<section><h2>Training</h2><p class="note">{escape(_told(found))}</p>'
        + (f'<p class="warning">It has no loss_rank score: {escape(missing)}.</p>' if missing else "")
        + f'<div class="diagrams">{"".join(_charts(found["curve"]))}</div>'
        + (_noise(found["noise"]) if found["noise"] else "")
        + f"<h3>Recipe</h3>{table(['setting', 'value'], map(table_row, _recipe(found)))}</section>"
    )


def _told(found: Mapping[str, Any]) -> str:
    network, rows = found["network"], found["rows"]
    origin = network["origin"]
    begun = "from scratch"
    if origin:
        head = "its head kept" if origin["keeps_head"] else "with a new head"
        begun = f"from version {origin['version']} of {origin['model']}, {head}"
    return (
        f"{network['kind']} {network['name']}, trained {begun} on {rows['train']['rows']} rows; the curves are of"
        f" {rows['held_out']['rows']} rows that were held out, the figures of the last epoch. It ended since"
        f" {found['stopped']}."
    )


def _charts(curve: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    held_out = [point["held_out"] for point in curve]
    yield _chart(
        "Loss",
        "nats",
        (TRAINED, "trained on, as augmented", [point["loss"] for point in curve]),
        (HELD_OUT, "NLL, held out", [point["nll"] for point in held_out]),
    )
    yield _chart(
        "Accuracy and confidence",
        "share",
        (TRAINED, "accuracy, trained on", [point["accuracy"] for point in curve]),
        (HELD_OUT, "accuracy, held out", [point["accuracy"] for point in held_out]),
        (CONFIDENCE, "confidence, held out", [point["confidence"] for point in held_out]),
    )
    yield _chart("Calibration error", "ECE", (HELD_OUT, "held out", [point["ece"] for point in held_out]))


def _chart(title: str, up: str, *lines: Line) -> str:
    epochs = len(lines[0][2])
    highest = max(value for *_, values in lines for value in values)
    chart = Chart(
        title=title,
        across=f"share of {epochs} epochs",
        up=up,
        legend=[(colour, f"{text}: {values[-1]:.3f}") for colour, text, values in lines],
        ceiling=_ceiling(highest),
    )
    curves = (
        _line(chart, colour, [((epoch + 1) / epochs, value) for epoch, value in enumerate(values)])
        for colour, _, values in lines
    )
    return chart.svg(curves)


def _noise(found: Mapping[str, Any]) -> str:
    """Confidence before, during and after the warm-up, on noise and on images that the network has never seen."""
    checks = found["checks"]
    steps = max(1, checks[-1]["step"])
    lines = ((TRAINED, "fresh noise", "confidence"), (HELD_OUT, "unseen images", "image_confidence"))
    chart = Chart(
        title="Confidence, warm-up on noise",
        across=f"share of {steps} steps",
        up="mean confidence",
        legend=[
            (colour, f"{text}: {checks[0][key]:.3f} before, {checks[-1][key]:.3f} after") for colour, text, key in lines
        ],
    )
    curves = (_line(chart, colour, [(each["step"] / steps, each[key]) for each in checks]) for colour, _, key in lines)
    return (
        f"<h3>Warm-up on noise</h3><p>It ended since {escape(found['stopped'])}.</p>"
        f'<div class="diagrams">{chart.svg(curves)}</div>'
    )


def _line(chart: Chart, colour: str, points: Sequence[Point]) -> str:
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{colour}"/>' for x, y in map(chart.place, points))
    return chart.curve(points, f'fill="none" stroke="{colour}" stroke-width="1.5"') + dots


def _ceiling(highest: float) -> float:
    return next((ceiling for ceiling in CEILINGS if highest <= ceiling), highest)


def _recipe(found: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    network = {name: value for name, value in found["network"].items() if name not in ("origin", "seed") and value}
    for name, value in (*_flat(network), *_flat(found["plan"])):
        yield escape(name), escape(str(value))


def _flat(values: Mapping[str, Any], above: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted names; None is left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        elif value is not None:
            yield f"{above}{name}", value
