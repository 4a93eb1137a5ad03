"""Forward passes in parts: the same as in one piece, bad rows left out, finished parts not computed again."""

import pytest
import safetensors.torch
import torch

from models.backbones.prepared import prepare
from models.core.errors import DataError
from models.core.gradient_plan import GradientPlan
from models.core.image import ImageError
from models.data.labelled_image import LabelledImage
from models.training import labelled_outputs as module
from models.training.labelled_outputs import Unreadable, collect, collect_in_parts, gather

CPU = torch.device("cpu")
ROWS = 10


@pytest.fixture(scope="module")
def network(tiny):
    return prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32")


@pytest.fixture
def images(digit_archive):
    """Name → file of ten rows."""
    return {row.name: row.content for row in digit_archive.read(digit_archive.names[:ROWS])}


@pytest.fixture(autouse=True)
def parts_of_four(monkeypatch):
    monkeypatch.setattr(module, "PART_ROWS", 4)


def run(network, images, folder, told=None, read=None):
    told = [] if told is None else told

    def contents(names):
        if read is not None:
            read.extend(names)
        return [images[name] for name in names]

    return collect_in_parts(network, tuple(images), contents, folder, told.append, batch=3)


def test_parts_give_what_one_piece_gives(network, images, tmp_path):
    told = []
    assert run(network, images, tmp_path / "a" / "b", told) == ()
    assert told == [4, 8, 10]
    found = gather(tmp_path / "a" / "b")
    assert found.names == tuple(images)
    whole = collect(network, [LabelledImage(name, content, 1) for name, content in images.items()])
    torch.testing.assert_close(found.outputs.logits, whole.outputs.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.outputs.features, whole.outputs.features, rtol=1e-4, atol=1e-4)
    assert whole.labels.tolist() == [1] * ROWS


def test_bad_rows_are_left_out_with_their_reason(network, images, tmp_path):
    names = list(images)
    damaged = images | {names[1]: None, names[4]: b"torn", names[9]: images[names[9]][:40]}
    bad = run(network, damaged, tmp_path)
    assert [row.name for row in bad] == [names[1], names[4], names[9]]
    assert bad[0] == Unreadable(names[1], "damaged in the archive: its checksum does not fit")
    assert all(row.reason for row in bad)
    kept = gather(tmp_path)
    assert kept.names == tuple(name for name in names if name not in {row.name for row in bad})
    assert len(kept.outputs) == ROWS - 3
    alone = collect(network, [LabelledImage("", images[names[5]], 0)])
    place = kept.names.index(names[5])
    torch.testing.assert_close(kept.outputs.logits[place], alone.outputs.logits[0], rtol=1e-4, atol=1e-4)


def test_a_part_without_a_readable_row(network, images, tmp_path):
    bad = run(network, {name: b"" for name in list(images)[:4]} | dict(list(images.items())[4:]), tmp_path)
    assert len(bad) == 4
    assert len(gather(tmp_path).outputs) == ROWS - 4


def test_finished_parts_are_not_computed_again(network, images, tmp_path):
    run(network, images, tmp_path)
    first = gather(tmp_path)
    (tmp_path / "000000004.safetensors").unlink()
    (tmp_path / ".000000008.safetensors.1.tmp").write_bytes(b"of one that was killed")
    told, read = [], []
    run(network, images, tmp_path, told, read)
    assert (told, read) == ([4, 8, 10], list(images)[4:8])
    again = gather(tmp_path)
    assert again.names == first.names
    assert torch.equal(again.outputs.logits, first.outputs.logits)


def test_names_of_every_kind_come_back(network, images, tmp_path):
    content = next(iter(images.values()))
    odd = {name: content for name in ("späte Blumen/1.png", "a\nb", '"', " ")}
    run(network, odd, tmp_path)
    assert gather(tmp_path).names == tuple(odd)


def test_a_damaged_part_is_not_taken(network, images, tmp_path):
    run(network, images, tmp_path)
    (tmp_path / "000000004.safetensors").write_bytes(b"damaged")
    with pytest.raises(safetensors.SafetensorError):
        gather(tmp_path)


def test_collect_refuses_a_row_that_cannot_be_read(network):
    with pytest.raises(ImageError):
        collect(network, [LabelledImage("a", b"torn", 0)])


def test_gradients_are_kept_where_the_network_gives_them(tiny, images, tmp_path):
    plan = GradientPlan(depth=3, directions=1)
    network = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32", plan=plan)
    names = list(images)
    damaged = images | {name: b"torn" for name in names[4:8]}  # a whole part without a readable row
    run(network, damaged, tmp_path)
    found = gather(tmp_path).outputs.gradients
    rows = [LabelledImage(name, images[name], 1) for name in names if damaged[name] != b"torn"]
    whole = collect(network, rows).outputs.gradients
    assert found.layers == whole.layers
    torch.testing.assert_close(found.energies, whole.energies, rtol=1e-3, atol=0)


def test_parts_of_two_plans_are_not_mixed(tiny, network, images, tmp_path):
    names = list(images)
    run(network, {name: images[name] for name in names[:4]}, tmp_path)
    plan = GradientPlan(depth=3, directions=1)
    with_gradients = prepare(tiny.network, "timm", tiny.plan.recipe.input_spec, CPU, "float32", plan=plan)
    with pytest.raises(DataError, match="collect them anew"):
        run(with_gradients, images, tmp_path)
