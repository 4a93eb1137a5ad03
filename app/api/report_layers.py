"""The part of a report on a language model's layers: the picture, the direction beside its controls, every layer."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from app.api.layers_diagram import layers_named, layers_svg
from app.api.report_tables import MISSING, table, table_row

WAYS = {
    "nothing": "nothing",
    "temperature": "temperature",
    "direction": "step along the direction",
    "direction_then_temperature": "step, then temperature",
    "opposite": "opposite step",
    "ablated": "direction taken out",
    "random": "random directions, mean",
}
FIGURES = {"ece": "ECE", "mce": "MCE", "accuracy": "accuracy", "confidence": "mean confidence"}


def layers_section(study: Mapping[str, Any]) -> str:
    """`study` is what `LayerStudy.report` gives."""
    return (
        f'<section><h2>Layers</h2><p class="note">{escape(_how(study))}</p>{_found(study)}'
        f'<div class="diagrams">{layers_svg(study)}</div>'
        f"<h3>The direction, its controls and a temperature</h3>{_compared(study['compared'])}{_gains(study['gains'])}"
        f"<h3>Every layer</h3>{_every_layer(study['curves'])}"
        + (f"<h3>Steps tried on the rows to fit on</h3>{_sweep(study['sweep'])}" if study["sweep"] else "")
        + f"<h3>Null space of the unembedding</h3>{_null_space(study['null_space'])}</section>"
    )


def _how(study: Mapping[str, Any]) -> str:
    rows = study["rows"]
    return (
        "What the model would answer after each layer: final norm and unembedding on the residual stream where a prompt"
        " ends, over the choices (arXiv 2511.00280). Phase, step and temperature were found on"
        f" {rows['fit']} rows in {study['precision']}; picture and comparison are of {rows['report']} other rows. ECE"
        f" and MCE have {study['bins']} bins of equal width."
    )


def _found(study: Mapping[str, Any]) -> str:
    phase, step = study["phase"], study["step"]
    lines = []
    if phase is not None:
        lines.append(
            f"Correction phase: {layers_named(phase['layers'])}; ECE is highest after layer {phase['peak']}. The"
            f" changes that these layers make agree to {study['agreement']:.2f}, where 1 is one direction."
        )
    if step is not None:
        lines.append(
            f"Chosen: a step of {step['step']:+.2f} mean lengths of the stream after layer {step['layer']}, then a"
            f" temperature of {study['temperature']:.3f}."
        )
    reason = study["reason"]
    found = f"<p>{escape(' '.join(lines))}</p>" if lines else ""
    return found + (f'<p class="warning">No step is served: {escape(reason)}.</p>' if reason else "")


def _compared(compared: Mapping[str, Mapping[str, Any]]) -> str:
    rows = (
        table_row([title, *(_figure(compared[name][figure]) for figure in FIGURES)])
        for name, title in WAYS.items()
        if name in compared
    )
    return table(["way", *FIGURES.values()], rows)


def _figure(found: float | Mapping[str, float]) -> str:
    if not isinstance(found, Mapping):
        return f"{found:.3f}"
    names = ("mean", "lowest", "highest") if "mean" in found else ("value", "low", "high")
    value, low, high = (found[name] for name in names)
    return f"{value:.3f}<br><small>{low:.3f} to {high:.3f}</small>"


def _gains(gains: Sequence[Mapping[str, Any]]) -> str:
    rows = (
        table_row([f"{WAYS[each['of']]}, against {WAYS[each['against']]}", _figure(each), _certain(each)])
        for each in gains
    )
    note = "Small figures are 95 % bootstrap intervals; of the random directions they are the lowest and the highest."
    return f'<h4>Who wins, on the same rows</h4>{table(["way", "ECE lower by", ""], rows)}<p class="note">{note}</p>'


def _certain(gain: Mapping[str, Any]) -> str:
    if gain["low"] > 0:
        return "better"
    return "worse" if gain["high"] < 0 else "not certain"


def _every_layer(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    rows = (
        table_row([str(one["layer"]), *(f"{part[name]:.3f}" for part in (one, other) for name in FIGURES)])
        for one, other in zip(curves["report"], curves["fit"], strict=True)
    )
    return table(["layer", *FIGURES.values(), *(f"{title}, fit" for title in FIGURES.values())], rows)


def _sweep(points: Sequence[Mapping[str, float]]) -> str:
    layers = list(dict.fromkeys(point["layer"] for point in points))
    heads = [f"{FIGURES[name]}, layer {layer}" for layer in layers for name in ("ece", "accuracy")]
    return table(["step", *heads], _sweep_rows(points, layers))


def _sweep_rows(points: Sequence[Mapping[str, float]], layers: Iterable[float]) -> Iterator[str]:
    found = {(point["step"], point["layer"]): point for point in points}
    for step in dict.fromkeys(point["step"] for point in points):
        figures = (f"{found[step, layer][name]:.3f}" for layer in layers for name in ("ece", "accuracy"))
        yield table_row([f"{step:+.2f}", *figures])


def _null_space(found: Mapping[str, Any]) -> str:
    share, neurons = found["direction"], found["entropy_neurons"]
    told = (
        f"{found['directions']} of the stream's {found['width']} directions change logits least. Share of the"
        f" calibration direction in them: {MISSING if share is None else f'{share:.3f}'}, by chance"
        f" {found['by_chance']:.3f}."
    )
    if neurons is None:
        return f'<p class="note">{told} The last layer has no neurons that could be told apart.</p>'
    rows = (
        table_row([str(each["neuron"]), *(f"{each[name]:.3g}" for name in ("length", "null_share", "logit_variance"))])
        for each in neurons
    )
    heads = ["entropy neuron", "length of its output weight", "share in the null space", "variance over tokens"]
    return f'<p class="note">{told}</p>{table(heads, rows)}'
