"""What the loss-rank benchmarks compute of their own: sources of views, changed images, runs, words and figures."""

import io
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from models.checkpoints.upstream import held_images
from models.core.method import Dimensions
from models.feature_cache.view_rows import ViewRows
from models.uncertainty.loss_rank import LossRank, initial_state
from tests.benchmarks.epistemic.figure import Figure, Line
from tests.benchmarks.epistemic.sets import Rows
from tests.benchmarks.loss_rank import ablation, disentanglement, fill_rate, speed, stop_gradient
from tests.benchmarks.loss_rank.chosen_views import ChosenViews, SomeViews
from tests.benchmarks.loss_rank.heat_map import HeatMap, heat_maps
from tests.benchmarks.loss_rank.image_rows import png
from tests.benchmarks.loss_rank.panels import panels
from tests.benchmarks.loss_rank.runs import finished, note, spread
from tests.benchmarks.loss_rank.upstream import Places

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def views() -> ChosenViews:
    """Three views of each of four images."""
    images = torch.tensor([2, 0, 3, 1, 1, 2, 0, 3, 0, 1, 2, 3])
    features = torch.arange(24.0).reshape(12, 2)
    return ChosenViews(ViewRows(features, torch.arange(12.0), images % 2, images))


@pytest.fixture
def photographs() -> Rows:
    pixels = torch.randint(0, 256, (3, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Rows("photographs", "noise", pixels, torch.zeros(3, dtype=torch.int64))


def test_chosen_views_are_the_source_s_without_the_others(views: ChosenViews) -> None:
    chosen = ChosenViews.of(views, [3, 1])
    assert chosen.total == 6
    rows = chosen.read(1, 5)
    assert rows.images.tolist() == [1, 1, 3, 1]
    assert rows.losses.tolist() == [3, 4, 7, 9]
    assert rows.features[0].tolist() == [6, 7]


def test_some_views_are_a_stretch_of_the_source(views: ChosenViews) -> None:
    some = SomeViews(views, 4, 10)
    assert some.total == 6
    assert torch.equal(some.read(2, 6).losses, views.read(6, 10).losses)


def test_png_keeps_every_pixel(photographs: Rows) -> None:
    decoded = np.asarray(Image.open(io.BytesIO(png(photographs.pixels[0]))))
    assert np.array_equal(decoded, photographs.pixels[0].permute(1, 2, 0).numpy())


def test_places_are_all_images_once() -> None:
    rows = held_images({str(number): b"" for number in range(40)}, list(range(40)), "")
    places = Places.of(rows)
    assert (len(places.stop), len(places.judge)) == (4, 4)
    assert sorted(places.stop + places.judge + places.train) == list(range(40))
    assert Places.of(rows) == places


def test_runs_go_on_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "runs.jsonl"
    assert finished(path, ablation.Run) == []
    run = ablation.Run("pairs", 64, 2, 0.5, 1, 7, {"views": 0.25}, 1.5)
    note(path, run)
    note(path, replace(run, seed=2))
    assert finished(path, ablation.Run) == [run, replace(run, seed=2)]
    assert run.setting == ablation.Setting(width=64, share=0.5)


def test_spread_over_seeds() -> None:
    assert spread([0.5, 0.7]) == "0.6000 ± 0.1414"
    assert spread([0.5]) == "0.5000 ± 0.0000"
    assert spread([None, None]) is None


def test_fewer_images_are_passed_over_more_often() -> None:
    assert ablation.Setting(share=1 / 8).plan(3).passes == 8 * ablation.PLAN.passes
    assert ablation.Setting(share=1 / 8).plan(3).seed == 3


def test_ablation_takes_the_default_once_and_names_what_is_ahead_of_it() -> None:
    settings = ablation.settings()
    assert settings.count(ablation.DEFAULT) == 1
    assert len(settings) == len(set(settings))
    wide = {512: 0.5, 128: 0.6, 64: 0.4}
    runs = [
        ablation.Run(
            setting.loss,
            setting.width,
            setting.depth,
            setting.share,
            seed,
            1,
            dict.fromkeys(ablation.MEASURES, wide[setting.width] + seed / 100),
            1.0,
        )
        for setting in settings
        for seed in (0, 1)
    ]
    beside = {"entropy": dict.fromkeys(ablation.MEASURES, 0.3)}
    rows = ablation.table(runs, beside).rows
    assert rows["width: 128"][0] == "0.6050 ± 0.0071"
    assert rows["no head: entropy"] == [0.3] * 4
    assert rows["depth: 2"] == rows["width: 512"]
    told = [word for word in ablation.words(runs) if word.startswith("width, R-AUROC, CIFAR-100")]
    assert told == ["width, R-AUROC, CIFAR-100: best with 128, +0.1000 to the default, ahead with 2 of 2 seeds."]
    assert ablation.figure(runs, "width").lines[0].values == pytest.approx([0.405, 0.605, 0.505])


@pytest.mark.parametrize(("arm", "reached"), [("stop-gradient on", False), ("stop-gradient off", True)])
def test_the_ranking_gradient_reaches_the_features_in_one_arm(arm: str, reached: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    state = initial_state(LossRank(Dimensions(2, 4), 8), generator)
    head = {name: nn.Parameter(tensor) for name, tensor in state.items()}
    features = torch.randn(6, 4, generator=generator).requires_grad_()
    losses = torch.rand(6, generator=generator).requires_grad_()
    stop_gradient.ranking_term(head, features, losses, arm).backward()
    assert (features.grad is not None) is reached
    assert losses.grad is None
    assert all(bool(parameter.grad.abs().sum() > 0) for parameter in head.values() if parameter.grad is not None)
    assert float(stop_gradient.ranking_term(head, features, losses, "no head")) == 0


def test_a_head_on_detached_features_leaves_the_network_bit_identical() -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (128, 3, 32, 32), dtype=torch.uint8, generator=generator)
    rows = Rows("noise", "noise", pixels, torch.randint(0, 10, (128,), generator=generator))
    runs = [stop_gradient.run(rows, rows, arm, 0, epochs=1) for arm in stop_gradient.ARMS]
    (told,) = stop_gradient.same_weights(runs)
    assert told.endswith("with it off they differ with 1 of 1.")
    with pytest.raises(AssertionError, match="weights differ"):
        stop_gradient.same_weights([*runs, replace(runs[1], weights="another")])
    text = stop_gradient.report(runs, {}).markdown()
    assert "|no head|" in text
    assert "accuracy, stop-gradient off minus stop-gradient on" in text


def test_a_crop_shows_the_middle_and_a_blur_takes_detail(photographs: Rows) -> None:
    crop = disentanglement.changed(photographs, "cropped", disentanglement.cropped)
    blur = disentanglement.changed(photographs, "blurred", disentanglement.blurred(2))
    assert crop.name == "cropped"
    assert crop.pixels.shape == blur.pixels.shape == photographs.pixels.shape
    assert float(blur.pixels.double().std()) < 0.5 * float(photographs.pixels.double().std())
    bright = replace(photographs, pixels=photographs.pixels.clone())
    bright.pixels[:, :, 19:21, 19:21] = 255  # of the side of 40, in any crop of at least a tenth
    shown = disentanglement.changed(bright, "cropped", disentanglement.cropped).pixels
    assert bool((shown[:, :, 18:22, 18:22].double().mean(dim=(1, 2, 3)) > 180).all())


def test_a_reduced_photograph_has_lost_its_finest_detail(photographs: Rows) -> None:
    found = disentanglement.changed(photographs, "reduced", disentanglement.reduced)
    assert found.pixels.shape == photographs.pixels.shape
    assert not torch.equal(found.pixels, photographs.pixels)


def found_scores(shift: float) -> disentanglement.Found:
    """Loss rank is higher on the changed photographs and as high elsewhere; the others are the other way round."""
    generator = torch.Generator().manual_seed(0)

    def scores(image: float, domain: float) -> dict[str, Tensor]:
        shifts = {"loss_rank": image, "epistemic": domain, "entropy": domain}
        return {name: torch.randn(200, generator=generator) + by for name, by in shifts.items()}

    names = ["photographs", "cropped", disentanglement.REDUCED, "textures", "cars"]
    return disentanglement.Found(
        {name: scores(shift * (name == "cropped"), shift * (name in ("textures", "cars"))) for name in names}
    )


def test_words_follow_from_the_scores() -> None:
    *of_scores, claim, equal_size, apart = disentanglement.words(found_scores(2.0))
    assert "cropped 0.9" in of_scores[0]
    assert of_scores[0].count("higher") == 1
    assert of_scores[1].count("higher") == 2
    assert "rises on 1 of 2 sets (cropped)" in claim
    assert "within 0.1 of 0.5 on 2 of 2 sets (textures; cars)" in claim
    assert "epistemic 0.9" in equal_size
    assert "Independent" in apart
    assert "rises on 0 of 2 sets of" in disentanglement.words(found_scores(0.0))[-3]


def test_tables_of_scores() -> None:
    correlation, percentile, aurocs, rising = disentanglement.tables(found_scores(2.0))
    assert list(correlation.rows) == ["photographs", "cropped", disentanglement.REDUCED, "textures", "cars"]
    assert percentile.rows["photographs"][0] == pytest.approx(0.5, abs=0.01)
    assert str(aurocs.rows["cars"][1]).startswith("0.9")
    assert "cars, above photographs reduced to the cars' size" in aurocs.rows
    assert list(rising.rows) == ["cropped", disentanglement.REDUCED]
    assert float(rising.rows["cropped"][0]) > 0.8


def test_heat_maps_show_every_value() -> None:
    matrix = HeatMap("a < b", ["u", "v"], [[1, -0.25], [-0.25, 1]])
    picture = ElementTree.fromstring(heat_maps("both", [matrix, matrix], columns=1))
    texts = [element.text for element in picture.iter(f"{SVG}text")]
    assert texts.count("-0.25") == 4
    assert "a < b" in texts
    cells = [element for element in picture.iter(f"{SVG}rect") if element.get("class") == "cell"]
    assert len({(cell.get("x"), cell.get("y")) for cell in cells}) == 8
    assert {cell.get("fill-opacity") for cell in cells} == {"1.000", "0.250"}
    with pytest.raises(ValueError, match="a row and a column for each"):
        HeatMap("", ["u"], [[1, 2]])


def test_panels_do_not_overlap() -> None:
    figure = Figure("a & b", "x", "y", ["0"], [Line("l", [0.5])])
    picture = ElementTree.fromstring(panels([figure, figure, figure]))
    inner = [(element.get("x"), element.get("y")) for element in picture if element.tag == f"{SVG}svg"]
    assert len(set(inner)) == 3


def test_ratios_and_differences_of_a_pair() -> None:
    state = {"weight.0": torch.tensor([[2.0, -4.0]]), "bias.0": torch.tensor([1.0])}
    other = {"weight.0": torch.tensor([[2.0, -3.0]]), "bias.0": torch.tensor([1.0])}
    pair = speed.Pair(speed.Training([1, 2], 1, other), speed.Training([100, 300], 1, state))
    assert pair.ratios() == [100, 150]
    assert pair.difference() == 0.25


def test_rates_are_compared_round_by_round() -> None:
    found = {fill_rate.FILL: [9.0, 20.0], fill_rate.LOOP: [10.0, 20.0], fill_rate.BARE: [20.0, 40.0]}
    table = fill_rate.rates_table(found)
    assert table.rows[fill_rate.LOOP] == ["15.0", "0.950 (0.900 to 1.000)"]
    training = speed.Table("", "head", ["ratio of epochs"], {"small": ["200"], "large": ["100"]})
    met, missed, *_ = speed.words(training, found)
    assert "the aim of 180 is met" in met
    assert "the aim of 180 is not met" in missed
