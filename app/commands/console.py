"""Replies as tables for a terminal: readable at 80 columns, and without colour, as every bar has its number beside it.

Names and messages come from files and servers, so they are shown as plain text, never as markup or control codes.
"""

from collections.abc import Iterable, Sequence
from pathlib import PurePath

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.client.model_replies import Evaluation, Measures, ModelCard, Versions, VersionSummary
from app.client.replies import FailedImage, ScoredImage, Uncertainty
from app.commands.plain_table import plain, plain_table, text

# From certain to uncertain; of the 256 colours that nearly every terminal has.
COLOURS = ("green3", "chartreuse3", "yellow3", "dark_orange", "red1")
WIDE = 100

HOW_TO_READ_CONFIDENCE = {  # by whether it is calibrated
    True: "Confidence is the calibrated probability that the label is right.",
    False: "Confidence is the network's own: this model was never calibrated, so it may be far too sure.",
}
HOW_TO_READ_PERCENTILES = (
    "A percentile is the share of the model's reference images that are less uncertain, so an image with a high one is"
    " better shown to a person."
)
HOW_TO_READ_CALIBRATION = (
    "ECE is the mean gap between confidence and accuracy, lower is better; the floor beside it is what a perfectly"
    " calibrated model would read on as many rows, so a gap to the floor counts, not to zero."
)


def show_scores(console: Console, items: Iterable[ScoredImage | FailedImage], title: str) -> None:
    """One block of rows for each image, a sentence how to read them, and below it what failed and why."""
    items = list(items)
    scored = [item for item in items if isinstance(item, ScoredImage)]
    if scored:
        console.print(_score_table(console, scored, title))
        for note in dict.fromkeys(its.note for image in scored for its in image.uncertainty.values() if its.note):
            console.print(Text(plain(note[0].upper() + note[1:]), style="yellow3"))
        calibrated = all(image.calibrated for image in scored)
        how_to_read = f"{HOW_TO_READ_CONFIDENCE[calibrated]} {HOW_TO_READ_PERCENTILES}"
        console.print(Text(how_to_read, style="dim" if calibrated else "yellow3"))
    for item in items:
        if isinstance(item, FailedImage):
            reason = f"{item.input}: not scored: {item.error.detail} ({item.error.code})"
            console.print(Text(plain(reason), style="red"))


def show_models(console: Console, cards: Sequence[ModelCard]) -> None:
    table = plain_table("model", "version", "status", "task", "calibrator", "scores")
    table.columns[0].no_wrap = True
    for card in cards:
        table.add_row(
            Text(plain(card.id), style="bold"),
            text(card.version),
            _status(card),
            text(card.task),
            text(card.calibrator),
            Text(", ".join(card.scores) or "-"),
        )
    console.print(table)
    for card in cards:
        if card.reason:
            console.print(Text(f"{plain(card.id)} is not served: {plain(card.reason)}", style="red"))
        elif card.calibration and card.calibration.warnings:
            hint = f"warning: {_warned_of(card)}; see `howsure models show {plain(card.id)}`"
            console.print(Text(hint, style="yellow3"))


def _warned_of(card: ModelCard) -> str:
    evaluations = card.calibration.evaluations if card.calibration else ()
    if any(evaluation.harmed for evaluation in evaluations):
        return f"{plain(card.id)}: calibration did harm on some data"
    if card.calibrator is None:
        return f"{plain(card.id)} was never calibrated{' on choices' if card.token_temperature else ''}"
    return f"{plain(card.id)} has something unproven or not judged"


def show_model(console: Console, card: ModelCard) -> None:
    """The card with calibration before and after, and its warnings."""
    console.print(Text.assemble((plain(card.id), "bold"), f", version {card.version or '-'}, ", _status(card)))
    facts = {
        "task": f"{card.task}, {card.classes} classes" if card.task else None,
        "runs on": f"{card.device} in {card.precision}" if card.device else None,
        "calibrator": card.calibrator,
        "tokens": f"temperature {card.token_temperature:.3f}" if card.token_temperature else None,
        "scores": ", ".join(f"{name} ({kind})" for name, kind in card.scores.items()) or None,
    }
    for name, value in facts.items():
        if value:
            console.print(Text(f"  {name:<11}{plain(value)}"))
    if card.reason:
        failed = f"version {card.failed_version} is " if card.failed_version else ""
        console.print(Text(f"{failed}not served: {plain(card.reason)}", style="red"))
    if card.calibration and card.calibration.evaluations:
        console.print()
        console.print(_calibration_table(card.calibration.evaluations))
        console.print(Text(HOW_TO_READ_CALIBRATION, style="dim"))
    for warning in card.calibration.warnings if card.calibration else ():
        console.print()
        console.print(Text(f"warning: {plain(warning)}", style="yellow3"))


def show_versions(console: Console, name: str, versions: Versions) -> None:
    """Published versions, and the moves between them."""
    table = plain_table(
        "version", "serves", "calibrator", "scores", "precisions", "made by", title=f"Versions of {name}"
    )
    for version in versions.versions:
        table.add_row(
            str(version.version),
            Text("yes", style="green3") if version.active else "",
            Text(plain(version.reason), style="red") if version.reason else text(_calibrated_by(version)),
            Text(", ".join(version.scores)),
            Text(", ".join(version.precisions)),
            text(version.code_version),
        )
    console.print(table)
    console.print()
    moves = plain_table("when", "version", "who", "why", title="Which served when")
    for move in versions.history:
        moves.add_row(Text(plain(move.at)), str(move.version), Text(plain(move.actor)), Text(plain(move.reason)))
    console.print(moves)


def _calibrated_by(version: VersionSummary) -> str | None:
    """The calibrator, and the temperature of tokens in the first precision, if any."""
    tokens = next((f"tokens {found:.3f}" for found in version.token_temperatures.values()), None)
    return ", ".join(each for each in (version.calibrator, tokens) if each) or None


def bar(share: float, width: int, *, ascii_only: bool) -> str:
    """A bar of `width` characters, filled by `share`; any share above zero shows."""
    full, empty = ("#", ".") if ascii_only else ("█", "░")
    filled = min(width, max(round(share * width), int(share > 0)))
    return full * filled + empty * (width - filled)


def percent(share: float) -> str:
    """As in 43.2%, but never rounded up to a certainty."""
    if 0.9995 <= share < 1:
        return ">99.9%"
    return f"{share:.1%}"


def uncertainty_colour(share: float) -> str:
    """Green at 0 to red at 1."""
    return COLOURS[min(int(share * len(COLOURS)), len(COLOURS) - 1)]


def _score_table(console: Console, images: Sequence[ScoredImage], title: str) -> Table:
    table = plain_table("image", "label", "confidence", "score", "value", "percentile", "kind", title=title)
    for column in table.columns[:2]:
        column.min_width = 8
    for column in table.columns[2:]:
        column.no_wrap = True
    table.columns[4].justify = "right"
    if console.width < WIDE:
        table.padding = 0
    names = _names([image.input for image in images])
    for name, image in zip(names, images, strict=True):
        confidence = _bar(console, image.confidence, 1 - image.confidence, percent(image.confidence))
        raw = Text(f"raw {percent(image.raw_confidence)}", style="dim")
        rows = [row for name, score in image.uncertainty.items() for row in _uncertainty(console, name, score)]
        table.add_row(
            Text(plain(name)),
            Text(plain(image.label), style="bold"),
            _lines([confidence, raw]),
            *map(_lines, zip(*rows, strict=True)),
        )
        table.add_row()
    return table


def _names(inputs: Sequence[str]) -> list[str]:
    """Without their folders, where that keeps them apart."""
    short = [PurePath(name).name for name in inputs]
    return short if len(set(short)) == len(set(inputs)) else list(inputs)


def _uncertainty(console: Console, name: str, score: Uncertainty) -> list[tuple[Text, ...]]:
    """A row, and below it the form where the score has several."""
    share = score.percentile
    percentile = text(None) if share is None else _bar(console, share, share, f"{share:.0%}")
    row = Text(plain(name)), Text(f"{score.value:.3g}"), percentile, Text(plain(score.kind))
    return [row] if score.form is None else [row, (Text(plain(score.form), style="dim"), Text(), Text(), Text())]


def _bar(console: Console, share: float, uncertainty: float, number: str) -> Text:
    ascii_only = not console.encoding.lower().startswith("utf")
    drawn = bar(share, 10 if console.width >= WIDE else 6, ascii_only=ascii_only)
    return Text.assemble((drawn, uncertainty_colour(uncertainty)), f" {number}")


def _lines(texts: Iterable[Text]) -> Text:
    return Text("\n").join(texts)


def _calibration_table(evaluations: Sequence[Evaluation]) -> Table:
    title = "Calibration, on data that was not fitted"
    table = plain_table("data", "role", "rows", "calibration", "ECE", "floor", "NLL", "accuracy", title=title)
    for column in table.columns[1:]:
        column.no_wrap = True
    for column in (table.columns[2], *table.columns[4:]):
        column.justify = "right"
    for evaluation in evaluations:
        data = Text.assemble(plain(evaluation.data), "\n", (plain(evaluation.note), "dim"))
        before = _measures(evaluation.before, "")
        after = _measures(evaluation.after, "red1" if evaluation.harmed else "green3")
        both = map(_lines, zip(before, after, strict=True))
        table.add_row(data, Text(plain(evaluation.role)), str(evaluation.rows), "before\nafter", *both)
        table.add_row()
    return table


def _measures(measures: Measures, style: str) -> list[Text]:
    return [
        Text(f"{measures.ece:.3f}", style=style),
        Text(f"{measures.ece_floor:.3f}"),
        Text(f"{measures.nll:.3f}"),
        Text(f"{measures.accuracy:.1%}"),
    ]


def _status(card: ModelCard) -> Text:
    return Text(card.status, style={"ready": "green3", "failed": "red"}.get(card.status, "yellow3"))
