"""The most and the least uncertain of many images as one self-contained HTML page: to see what a score finds."""

import base64
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from importlib.metadata import version
from itertools import islice
from pathlib import Path, PurePath

from PIL import Image

from app.api.report_page import STYLE
from app.client.replies import ScoredImage, ScoreReply, Uncertainty
from app.commands.console import HOW_TO_READ_CONFIDENCE, percent
from models.core.image import ImageError, read_image
from models.core.input_spec import InputSpec

SIDE = 160  # pixels of a thumbnail's longer side
QUALITY = 80
# Photographs are decoded at the size that a thumbnail needs, the same way as for the network.
THUMBNAIL = InputSpec(SIDE, SIDE, SIDE, "bicubic", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), fit="squash")
ESCAPED_IN_FORMS = re.compile(r'[\x00-\x1a\x1c-\x1f"]')

GALLERY_STYLE = """
.images{display:grid;grid-template-columns:repeat(auto-fill,10rem);gap:1rem;padding:0;margin:0}
.images li{list-style:none;overflow-wrap:anywhere;font-size:13px;line-height:1.4}
.images img{display:block;width:10rem;height:10rem;object-fit:contain;background:#f3f4f6;margin-bottom:.4rem}
.images b,.images span{display:block}.images span{color:#6b7280}
@media(prefers-color-scheme:dark){body{color:#e5e7eb;background:#111827}.images img{background:#1f2937}
.note,.images span{color:#9ca3af}}
@media print{.images{grid-template-columns:repeat(5,1fr)}.images li{break-inside:avoid}}
"""
HOW_TO_READ_PERCENTILES = "A percentile is the share of the model's reference images that are less uncertain."


def gallery_page(reply: ScoreReply, files: Iterable[Path], score: str, size: int) -> str:
    """At most `size` images of either end of a reply that is sorted by `score`, and none of them twice.

    `files` are what was scored. One that can no longer be read is left out, and the next takes its place.
    """
    scored = reply.scored
    paths = {name: file for file in files for name in (str(file), _name_in_form(str(file)))}
    half = (len(scored) + 1) // 2
    calibrated = all(image.calibrated for image in scored)
    how_to_read = f"{HOW_TO_READ_PERCENTILES} {HOW_TO_READ_CONFIDENCE[calibrated]}"
    title = f"What {reply.model} is most and least sure of, by {score}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<style>{STYLE}{GALLERY_STYLE}</style><h1>{escape(title)}</h1>"
        f'<p class="note">{escape(_provenance(reply, score))}</p>'
        + _section("Most uncertain", scored[:half], paths, score, size)
        + _section("Least uncertain", scored[half:][::-1], paths, score, size)
        + f'<h2>How to read it</h2><p class="note">{escape(how_to_read)}</p></html>\n'
    )


def _provenance(reply: ScoreReply, score: str) -> str:
    kind = reply.scored[0].uncertainty[score].kind
    failed = f", {len(reply.failed)} could not be" if reply.failed else ""
    return (
        f"Model {reply.model}, version {reply.version}; score {score} ({kind}); {len(reply.scored)} images scored"
        f"{failed}; {datetime.now(UTC):%Y-%m-%d %H:%M} UTC; howsure {version('howsure')}."
    )


def _section(title: str, images: Sequence[ScoredImage], paths: Mapping[str, Path], score: str, size: int) -> str:
    figures = "".join(islice(_figures(images, paths, score), size))
    return f'<h2>{title}</h2><ol class="images">{figures}</ol>' if figures else ""


def _figures(images: Iterable[ScoredImage], paths: Mapping[str, Path], score: str) -> Iterator[str]:
    for image in images:
        if image.input not in paths:  # no server says which files of this machine are read
            continue
        try:
            thumbnail = _thumbnail(paths[image.input].read_bytes())
        except (OSError, ImageError):
            continue
        yield _figure(image, thumbnail, score)


def _figure(image: ScoredImage, thumbnail: str, score: str) -> str:
    name = PurePath(image.input).name
    lines = (f"confidence {percent(image.confidence)}", *_score_lines(score, image.uncertainty[score]))
    return (
        f'<li><img src="data:image/jpeg;base64,{thumbnail}" alt="{escape(f"{name}: {image.label}")}">'
        f"<b>{escape(image.label)}</b>"
        + "".join(f"<span>{escape(line)}</span>" for line in lines)
        + f'<span title="{escape(image.input)}">{escape(name)}</span></li>'
    )


def _score_lines(score: str, found: Uncertainty) -> list[str]:
    form = "" if found.form is None else f" ({found.form})"
    percentile = [] if found.percentile is None else [f"percentile {found.percentile:.0%}"]
    return [f"{score} {found.value:.3g}{form}", *percentile]


def _thumbnail(content: bytes) -> str:
    image = read_image(content, THUMBNAIL)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=QUALITY)
    return base64.b64encode(written.getvalue()).decode()


def _name_in_form(name: str) -> str:
    """As the client sends a file name, and so as it comes back: HTML's forms escape these characters."""
    return ESCAPED_IN_FORMS.sub(lambda found: f"%{ord(found[0]):02X}", name)
