"""What a language model would answer after each of its layers, as SVG: accuracy, confidence and ECE."""

from collections.abc import Iterator, Mapping
from typing import Any

from app.api.diagram import Chart

LINES = (("accuracy", "accuracy", "#0f766e"), ("confidence", "confidence", "#6d28d9"), ("ece", "ECE", "#b45309"))
PHASE, STEP, NOTHING = "#fde68a", "#9ca3af", "none"


def layers_svg(study: Mapping[str, Any]) -> str:
    """`study` is what `LayerStudy.report` gives. The curves are of rows that were not fitted; the band is the phase."""
    curve = study["curves"]["report"]
    lines = [(colour, f"{label}: {curve[-1][name]:.3f} after the last") for name, label, colour in LINES]
    chart = Chart(
        title=f"{study['rows']['report']} rows, layer by layer",
        across="layer",
        up="share",
        legend=[*lines, *_legend(study)],
        reach=_reach(len(curve)),
    )
    points = {name: [(each["layer"], each[name]) for each in curve] for name, *_ in LINES}
    curves = (
        chart.curve(points[name], f'fill="none" stroke="{colour}" stroke-width="1.5"') for name, _, colour in LINES
    )
    return chart.svg([*_marks(chart, study), *curves])


def _legend(study: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    phase, step = study["phase"], study["step"]
    if phase is None:
        yield NOTHING, "no correction phase found"
    else:
        yield PHASE, f"correction phase: {layers_named(phase['layers'])}"
    if step is not None:
        yield STEP, f"step along the direction: after layer {step['layer']}"


def _marks(chart: Chart, study: Mapping[str, Any]) -> Iterator[str]:
    if study["phase"] is not None:
        layers = study["phase"]["layers"]
        left, top = chart.place((layers[0] - 0.5, chart.ceiling))
        right, bottom = chart.place((min(layers[-1] + 0.5, chart.reach), 0))
        sizes = f'width="{right - left:.1f}" height="{bottom - top:.1f}"'
        yield f'<rect x="{left:.1f}" y="{top:.1f}" {sizes} fill="{PHASE}" fill-opacity="0.6"/>'
    if study["step"] is not None:
        layer = study["step"]["layer"]
        yield chart.curve([(layer, 0), (layer, chart.ceiling)], 'class="ideal"')


def layers_named(layers: list[int]) -> str:
    return f"layer {layers[0]}" if len(layers) == 1 else f"layers {layers[0]} to {layers[-1]}"


def _reach(layers: int) -> int:
    """The next multiple of 5, so that each of the axis's marks is the number of a layer."""
    return -(-layers // 5) * 5
