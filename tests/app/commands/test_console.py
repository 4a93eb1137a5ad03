"""What people see: at 80 columns, in colour and without, and with names that try to break the table."""

import io
from dataclasses import replace

import pytest
from rich.console import Console

from app.client.model_replies import Calibration, Evaluation, Measures, ModelCard, Move, Versions, VersionSummary
from app.client.replies import FailedImage, Problem, ScoredImage, Uncertainty
from app.commands import console


class Terminal:
    """A console of a given width, and what was printed on it."""

    def __init__(self, width=80, colour=False, encoding="utf-8"):
        self.bytes = io.BytesIO()
        self.file = io.TextIOWrapper(self.bytes, encoding=encoding)
        system = "256" if colour else None
        self.console = Console(file=self.file, width=width, color_system=system, force_terminal=colour, highlight=False)

    @property
    def text(self):
        self.file.flush()
        return self.bytes.getvalue().decode(self.file.encoding)

    @property
    def lines(self):
        return self.text.splitlines()


@pytest.fixture
def images():
    scores = {
        "entropy": Uncertainty(1.037067, 0.844, "total"),
        "loss_rank": Uncertainty(-0.9, 0.0, "aleatoric"),
        "epistemic": Uncertainty(167.3394, 1.0, "epistemic"),
    }
    return [
        ScoredImage("pred_1", "pets/cat.jpg", "Egyptian cat", 285, 0.4323, 0.3707, (), scores),
        FailedImage("pets/notes.txt", Problem(415, "image_format_unsupported", "not an image")),
        ScoredImage("pred_2", "pets/cup.jpg", "espresso", 967, 0.99981, 0.957, (), {}),
    ]


@pytest.fixture
def card():
    before = Measures(0.908, 0.605, 0.208, 0.2251, 0.0733, 0.2243, 0.0758)
    better = Measures(0.908, 0.354, 0.131, 0.0628, 0.0489, 0.0392, 0.041)
    worse = Measures(0.688, 1.172, 0.407, 0.3226, 0.0557, 0.1176, 0.0488)
    evaluations = (
        Evaluation("imagenet_photographs_not_fitted_on", "report", 250, "of the same source", before, better),
        Evaluation("small_pictures", "shift", 240, "at 160 pixels", before, worse),
    )
    calibration = Calibration("bfloat16", evaluations, ("On small_pictures calibration made ECE worse.",))
    return ModelCard(
        id="efficientnet-lite0",
        status="ready",
        raw={},
        version=3,
        task="image-classification",
        classes=1000,
        device="cpu",
        precision="bfloat16",
        calibrator="temperature",
        scores={"entropy": "total", "epistemic": "epistemic"},
        calibration=calibration,
    )


def test_a_scored_image_fits_into_80_columns(images):
    terminal = Terminal(width=80)
    console.show_scores(terminal.console, images, "m version 1")
    assert max(map(len, terminal.lines)) <= 80
    cat = next(line for line in terminal.lines if "cat.jpg" in line)
    assert cat.split() == ["cat.jpg", "Egyptian", "cat", "███░░░", "43.2%", "entropy", "1.04", "█████░", "84%", "total"]
    below = terminal.lines[terminal.lines.index(cat) + 1]
    assert below.split() == ["raw", "37.1%", "loss_rank", "-0.9", "░░░░░░", "0%", "aleatoric"]
    assert "167 ██████ 100% epistemic" in " ".join(terminal.text.split())
    assert ">99.9%" in terminal.text
    assert console.HOW_TO_READ_CONFIDENCE[True] in " ".join(terminal.text.split())


def test_confidence_of_a_model_without_a_calibrator_is_not_called_calibrated(images):
    raw = [replace(images[0], calibrated=False)]
    terminal = Terminal(width=80)
    console.show_scores(terminal.console, raw, "m version 1")
    text = " ".join(terminal.text.split())
    assert "network's own: this model was never calibrated" in text
    assert "calibrated probability" not in text


def test_forms_are_named_and_a_missing_percentile_is_a_dash():
    scores = [Uncertainty(167.3394, None, "epistemic", "exact"), Uncertainty(3.0, 1.0, "epistemic", "last_layer")]
    images = [ScoredImage("pred", "cat.jpg", "tabby", 0, 0.5, 0.5, (), {"epistemic": score}) for score in scores]
    terminal = Terminal(width=80)
    console.show_scores(terminal.console, images, "m version 1")
    assert max(map(len, terminal.lines)) <= 80
    rows = [line.split() for line in terminal.lines]
    exact, last_layer = (row for row in rows if "cat.jpg" in row)
    assert exact[4:] == ["epistemic", "167", "-", "epistemic"]
    assert last_layer[4:] == ["epistemic", "3", "██████", "100%", "epistemic"]
    assert [rows[rows.index(row) + 1][-1] for row in (exact, last_layer)] == ["exact", "last_layer"]


def test_what_failed_is_named_with_its_reason(images):
    terminal = Terminal(width=80, colour=True)
    console.show_scores(terminal.console, images, "m version 1")
    line = next(line for line in terminal.lines if "notes.txt" in line)
    assert line == "\x1b[31mpets/notes.txt: not scored: not an image (image_format_unsupported)\x1b[0m"


def test_only_failures_need_no_table(images):
    terminal = Terminal()
    console.show_scores(terminal.console, images[1:2], "m version 1")
    assert terminal.text == "pets/notes.txt: not scored: not an image (image_format_unsupported)\n"


@pytest.mark.parametrize(
    ("share", "colour"),
    [(0, "green3"), (0.19, "green3"), (0.2, "chartreuse3"), (0.5, "yellow3"), (0.79, "dark_orange"), (1, "red1")],
)
def test_colours_go_from_green_to_red(share, colour):
    assert console.uncertainty_colour(share) == colour


def test_confidence_and_percentile_are_coloured_in_opposite_ways(images):
    terminal = Terminal(width=120, colour=True)
    console.show_scores(terminal.console, images, "m version 1")
    green, red = (f"\x1b[38;5;{number}m" for number in (40, 196))
    assert f"{green}██████████\x1b[0m >99.9%" in terminal.text
    assert f"{red}██████████\x1b[0m 100%" in terminal.text
    assert f"{green}░░░░░░░░░░\x1b[0m 0%" in terminal.text


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(0, "...."), (0.001, "#..."), (0.25, "#..."), (0.5, "##.."), (0.99, "####"), (1, "####")],
)
def test_bar(share, drawn):
    assert console.bar(share, 4, ascii_only=True) == drawn


@pytest.mark.parametrize(
    ("share", "written"),
    [(0, "0.0%"), (0.4323, "43.2%"), (0.9994, "99.9%"), (0.9996, ">99.9%"), (0.9999999, ">99.9%"), (1, "100.0%")],
)
def test_percent_does_not_round_up_to_certainty(share, written):
    assert console.percent(share) == written


def test_a_terminal_without_unicode_gets_ascii(images):
    terminal = Terminal(encoding="ascii")
    console.show_scores(terminal.console, images, "m version 1")
    assert "###... 43.2%" in terminal.text


def test_names_are_neither_markup_nor_control_codes():
    hostile = ScoredImage("pred", "[red]a[/red]\x1b[2J.jpg", "[bold]\x07", 0, 0.5, 0.5, (), {})
    failed = FailedImage("[link=x]y\n", Problem(422, "invalid", "\x9b2J"))
    terminal = Terminal(width=120, colour=True)
    console.show_scores(terminal.console, [hostile, failed], "[blink]\x1b]0;")
    assert "[bold]\N{REPLACEMENT CHARACTER}" in terminal.text
    assert "red]\N{REPLACEMENT CHARACTER}[2J.jpg" in terminal.text
    assert "[link=x]y\N{REPLACEMENT CHARACTER}: not scored" in terminal.text
    for code in ("\x1b[2J", "\x1b]0;", "\x07", "\x9b"):
        assert code not in terminal.text


def test_folders_are_shown_where_names_alone_would_be_ambiguous():
    images = [ScoredImage("pred", name, "cup", 0, 0.5, 0.5, (), {}) for name in ("a/x.jpg", "b/x.jpg")]
    terminal = Terminal()
    console.show_scores(terminal.console, images, "m version 1")
    assert "a/x.jpg" in terminal.text
    assert "b/x.jpg" in terminal.text


def test_the_model_card_has_calibration_before_and_after(card):
    terminal = Terminal(width=80)
    console.show_model(terminal.console, card)
    assert max(map(len, terminal.lines)) <= 80
    before = next(line for line in terminal.lines if "before" in line)
    after = terminal.lines[terminal.lines.index(before) + 1]
    assert before.split()[-7:] == ["report", "250", "before", "0.225", "0.073", "0.605", "90.8%"]
    assert after.split()[-5:] == ["after", "0.063", "0.049", "0.354", "90.8%"]
    assert "warning: On small_pictures calibration made ECE worse." in terminal.text


def test_calibration_that_did_harm_is_red(card):
    terminal = Terminal(width=120, colour=True)
    console.show_model(terminal.console, card)
    assert "\x1b[38;5;40m0.063" in terminal.text
    assert "\x1b[38;5;196m0.323" in terminal.text


def test_a_model_that_was_never_calibrated_says_so_in_the_list_and_on_its_card(card):
    calibration = Calibration("bfloat16", (), ("This version was never calibrated or judged.",))
    raw = replace(card, calibrator=None, calibration=calibration)
    listed, shown = Terminal(width=120), Terminal()
    console.show_models(listed.console, [raw])
    console.show_model(shown.console, raw)
    assert "warning: efficientnet-lite0 was never calibrated; see `howsure models show" in listed.text
    assert "did harm" not in listed.text
    assert "warning: This version was never calibrated or judged." in shown.text


def test_a_warning_of_something_else_is_not_called_harm(card):
    calibration = replace(card.calibration, evaluations=card.calibration.evaluations[:1], warnings=("loss_rank …",))
    terminal = Terminal(width=120)
    console.show_models(terminal.console, [replace(card, calibration=calibration)])
    assert "has something unproven or not judged" in terminal.text


def test_models_with_warnings_and_failures_point_further(card):
    failed = ModelCard(id="broken", status="failed", raw={}, reason="the weights have another hash")
    terminal = Terminal(width=80)
    console.show_models(terminal.console, [card, failed])
    assert max(map(len, terminal.lines)) <= 80
    assert "efficientnet-lite0  3" in terminal.text
    text = " ".join(terminal.text.split())
    assert "calibration did harm on some data; see `howsure models show efficientnet-lite0`" in text
    assert "broken is not served: the weights have another hash" in text


def test_a_card_of_a_model_that_is_not_served():
    terminal = Terminal()
    console.show_model(terminal.console, ModelCard(id="broken", status="failed", raw={}, reason="damaged"))
    assert terminal.text == "broken, version -, failed\nnot served: damaged\n"


def test_versions_and_their_history():
    versions = (
        VersionSummary(2, False, reason="the manifest is damaged"),
        VersionSummary(3, False, token_temperatures={"bfloat16": 1.25}),
        VersionSummary(1, True, calibrator="vector", scores=("entropy",), precisions=("float32",), code_version="0.1"),
    )
    history = (Move(1, "2026-01-02T03:04:05+00:00", "ada", "better on our own photographs"),)
    terminal = Terminal(width=80)
    console.show_versions(terminal.console, "m", Versions(versions, history, {}))
    assert max(map(len, terminal.lines)) <= 80
    rows = [line.split() for line in terminal.lines]
    assert ["1", "yes", "vector", "entropy", "float32", "0.1"] in rows
    assert ["3", "tokens", "1.250", "-"] in rows
    assert ["2026-01-02T03:04:05+00:00", "1", "ada", "better", "on", "our", "own", "photographs"] in rows
    assert "damaged" in terminal.text
