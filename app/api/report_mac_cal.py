"""The part of a report on MaC-Cal: how the retention probability moved, by which gap, and the guard."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from app.api.diagram import COLOURS, Chart, Point
from app.api.report_tables import table, table_row

READINGS = {
    "additive": "q - gamma · gap",
    "multiplicative": "gamma · q where the gap is above 0, else q / gamma",
    "discounted": "q - (confidence - gamma · accuracy)",
}


def mac_cal_section(fitting: Mapping[str, Any]) -> str:
    """`fitting` has the calibrator's record by precision."""
    return (
        "<section><h2>Masks of the calibrator</h2>"
        + "".join(_precision(precision, record) for precision, record in fitting.items())
        + "</section>"
    )


def _precision(precision: str, record: Mapping[str, Any]) -> str:
    trained = _trained(record) if "epochs" in record else ""
    return f"<h3>MaC-Cal in {escape(precision)}</h3>{_verdict(record)}{trained}"


def _verdict(record: Mapping[str, Any]) -> str:
    guard, held_out = record["guard"], record["rows"]["held_out"]
    if guard["held"]:
        style, told = "held", "Its guard held: the new head serves."
    else:
        style, told = "refused", "Its guard did not hold: the network's own logits stay."
    if "accuracy" not in guard:
        return f'<p class="{style}">{told} There were too few rows to hold any out.</p>'
    accuracy, nll = guard["accuracy"], guard["nll"]
    return (
        f'<p class="{style}">{told} On {held_out} held-out rows accuracy was {accuracy["own"]:.3f} with the network\'s'
        f" own head and {accuracy['new']:.3f} with the new one, NLL {nll['own']:.3f} and {nll['new']:.3f}; it may lose"
        f" {guard['largest_drop']:g} of accuracy and nothing of NLL.</p>"
    )


def _trained(record: Mapping[str, Any]) -> str:
    epochs, kept, options = record["epochs"], record["kept"], record["options"]
    source = "held-out" if options["gap"] == "heldout" else "training"
    how = (
        f"A head of two layers, {options['width']} units between them, trained on {record['rows']['fitted']} rows with"
        f" a share q of its weights. After each epoch q becomes {READINGS[options['reading']]}, with gamma"
        f" {options['gamma']:g} and q from {options['lowest_q']:g} to 1, where the gap is mean confidence less accuracy"
        f" of the {source} rows. Kept: epoch {kept + 1} of {len(epochs)}, of the least held-out NLL; the dashed line."
    )
    return (
        f'<p class="note">{escape(how)}</p><div class="diagrams">{_retention(epochs, kept)}{_gap(epochs, kept)}</div>'
        + _table(epochs, kept)
    )


def _retention(epochs: Sequence[Mapping[str, float]], kept: int) -> str:
    legend = [(COLOURS["active"], f"q: from {epochs[0]['q']:.2f} to {epochs[-1]['q']:.2f}")]
    return _chart("Retention probability", "q", legend, epochs, kept, {"q": COLOURS["active"]})


def _gap(epochs: Sequence[Mapping[str, float]], kept: int) -> str:
    legend = [
        (COLOURS["before"], f"mean confidence: last {epochs[-1]['confidence']:.3f}"),
        (COLOURS["after"], f"accuracy: last {epochs[-1]['accuracy']:.3f}"),
    ]
    colours = {"confidence": COLOURS["before"], "accuracy": COLOURS["after"]}
    return _chart("The gap, without masks", "confidence, accuracy", legend, epochs, kept, colours)


def _chart(
    title: str,
    up: str,
    legend: Sequence[tuple[str, str]],
    epochs: Sequence[Mapping[str, float]],
    kept: int,
    colours: Mapping[str, str],
) -> str:
    chart = Chart(title, f"share of the {len(epochs)} epochs", up, legend)
    lines = [
        chart.curve([_point(epochs, place, name) for place in range(len(epochs))], f'fill="none" stroke="{colour}"')
        for name, colour in colours.items()
    ]
    across = (kept + 1) / len(epochs)
    return chart.svg([chart.curve([(across, 0), (across, 1)], 'class="ideal"'), *lines])


def _point(epochs: Sequence[Mapping[str, float]], place: int, name: str) -> Point:
    return (place + 1) / len(epochs), epochs[place][name]


def _table(epochs: Sequence[Mapping[str, float]], kept: int) -> str:
    places = {0: "first", len(epochs) - 1: "last", kept: "kept"}
    heads = ("epoch", "q", "mean confidence", "accuracy", "what moves q", "held-out NLL")
    rows = (_row(f"{place + 1}, {name}", epochs[place]) for place, name in sorted(places.items()))
    return table(heads, rows)


def _row(name: str, epoch: Mapping[str, float]) -> str:
    figures = (f"{epoch[key]:.3f}" for key in ("q", "confidence", "accuracy"))
    return table_row([name, *figures, f"{epoch['gap']:+.3f}", f"{epoch['held_out_nll']:.3f}"])
