"""What a filled cache holds: what the network gives, row by row; damaged shards are made anew."""

import math
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from models.core.errors import DataError, StaleCacheError
from models.core.image import read_image
from models.data.labelled_image import LabelledImage
from models.feature_cache.cache import FeatureCache
from models.feature_cache.fill import fill
from models.feature_cache.outputs import CachedOutputs
from models.feature_cache.shard import BAD, shard_rows
from models.training.labelled_outputs import collect

ROWS = 120


def expected(subject):
    """The outputs of every readable row, each image in a batch of its own size."""
    pairs = zip(subject.rows.names, subject.rows.contents(subject.rows.names), strict=True)
    return collect(subject.network, [LabelledImage(name, content, 0) for name, content in pairs]).outputs


def test_a_cache_holds_what_the_network_gives(plain):
    told = []
    cache, made = plain.filled(told)
    assert (made, sorted(told), told[-1]) == (ROWS, told, ROWS)
    outputs, labels = CachedOutputs(cache).take(range(ROWS))
    whole = expected(plain)
    torch.testing.assert_close(outputs.logits, whole.logits, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(outputs.features, whole.features, rtol=1e-4, atol=1e-4)
    assert labels.tolist() == plain.rows.labels.tolist()
    losses = np.concatenate([cache.shard(start).columns["losses"] for start in cache.starts])
    cross_entropies = -outputs.log_probabilities()[torch.arange(ROWS), labels]
    torch.testing.assert_close(torch.from_numpy(losses), cross_entropies, rtol=1e-5, atol=1e-5)
    assert outputs.gradients is None
    assert all(isinstance(column, np.memmap) for column in cache.shard(0).columns.values()), "nothing is loaded"


def test_some_rows_in_any_order(plain):
    cache = CachedOutputs(plain.filled()[0])
    whole, labels = cache.take(range(ROWS))
    rows = [119, 3, 64, 63, 3]
    some, their = cache.take(rows)
    assert torch.equal(some.logits, whole.logits[rows])
    assert torch.equal(some.features, whole.features[rows])
    assert torch.equal(their, labels[rows])
    assert len(cache.take([])[0]) == 0


def test_gradients_are_kept_where_the_network_gives_them(plain, gradient_network):
    subject = plain.having(network=gradient_network)
    found = CachedOutputs(subject.filled()[0]).take(range(ROWS))[0].gradients
    whole = expected(subject).gradients
    assert found.layers == whole.layers
    torch.testing.assert_close(found.energies, whole.energies, rtol=1e-3, atol=0)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_bytes_do_not_depend_on_the_threads(viewed, tmp_path, bytes_of, threads):
    one, _ = viewed.filled(threads=2)
    other, _ = viewed.having(root=tmp_path / "other").filled(threads=threads)
    assert bytes_of(one) == bytes_of(other)


def test_a_full_cache_takes_no_forward_pass(plain, monkeypatch):
    plain.filled()
    monkeypatch.setattr(type(plain.passes()), "compute", None)
    told = []
    cache, made = plain.filled(told)
    assert (made, told, cache.is_complete()) == (0, [ROWS], True)


def cut(path):
    os.truncate(path, max(0, path.stat().st_size - 8))


def replace_by_fewer_rows(path):
    np.save(path, np.load(path)[:-1])


def remove(path):
    path.unlink()


ARRAYS = ("features.npy", "labels.npy", "losses.npy", "logits.npy")


@pytest.mark.parametrize(
    ("harm", "name"),
    [(cut, BAD), (remove, BAD), *((harm, name) for harm in (cut, replace_by_fewer_rows, remove) for name in ARRAYS)],
)
def test_a_damaged_shard_is_refused_and_made_anew(plain, bytes_of, harm, name):
    cache, _ = plain.filled()
    whole = bytes_of(cache)
    harm(cache.path_of(64) / name)
    with pytest.raises(StaleCacheError, match="1 of 2 shards"):
        CachedOutputs(FeatureCache(plain.root, plain.key()))
    with pytest.raises(StaleCacheError, match="000000000064 is not what was written"):
        FeatureCache(plain.root, plain.key()).shard(64)
    assert plain.filled()[1] == ROWS - 64
    assert bytes_of(cache) == whole


def test_images_that_cannot_be_read_are_listed_and_left_out(plain, with_files):
    names = plain.rows.names
    content = next(iter(plain.rows.contents(names[9:10])))
    subject = plain.having(rows=with_files({names[1]: None, names[70]: b"torn", names[119]: content[:40]}))
    cache, made = subject.filled()
    assert made == ROWS
    bad = dict(cache.bad())
    assert list(bad) == [1, 70, 119]
    assert bad[1] == "damaged in the archive: its checksum does not fit"
    assert all(bad.values())
    found = CachedOutputs(cache)
    kept = found.readable([0, 1, 2, 70, 119, 5])
    assert kept == [0, 2, 5]
    whole = CachedOutputs(plain.having(root=plain.root / "sound").filled()[0]).take(kept)[0]
    torch.testing.assert_close(found.take(kept)[0].logits, whole.logits, rtol=1e-4, atol=1e-4)


class Overflowing(nn.Module):
    """`trunk`, but for one input."""

    def __init__(self, trunk, bad):
        super().__init__()
        self.trunk, self.bad = trunk, bad

    def forward(self, images):
        hit = (images == self.bad).flatten(1).all(dim=1)
        return self.trunk(images).masked_fill(hit[:, None], math.inf)


def test_images_that_the_network_overflows_on_are_left_out(plain):
    network, rows = plain.network, plain.rows
    content = next(iter(rows.contents(rows.names[70:71])))
    pixels = network.input_spec.pixels(read_image(content, network.input_spec))
    bad = network.input_spec.tensor(pixels[None], network.device, torch.float32)
    cache, _ = plain.having(network=replace(network, trunk=Overflowing(network.trunk, bad))).filled()
    assert list(cache.bad()) == [(70, "the network gives no finite numbers for it")]
    whole = CachedOutputs(plain.having(root=plain.root / "sound").filled()[0])
    found, kept = CachedOutputs(cache), [69, 71]
    assert found.readable([69, 70, 71]) == kept
    assert found.take(kept)[0].logits.equal(whole.take(kept)[0].logits)


def test_a_shard_without_a_readable_image(plain, gradient_network, with_files):
    files = dict.fromkeys(plain.rows.names[:64], b"")
    subject = plain.having(rows=with_files(files), network=gradient_network)
    found = CachedOutputs(subject.filled()[0])
    assert found.readable(range(ROWS)) == list(range(64, ROWS))
    assert bool((found.take([64])[0].gradients.energies > 0).all())


def test_passes_that_are_not_what_the_key_says(plain, viewed, gradient_network):
    cache = FeatureCache(plain.root, plain.key())
    fewer = replace(plain.rows, names=plain.rows.names[:9], labels=plain.rows.labels[:9])
    relabelled = replace(plain.rows, labels=(plain.rows.labels + 1) % 10)
    for other in (viewed, plain.having(network=gradient_network), plain.having(rows=fewer)):
        with pytest.raises(ValueError, match="make the key from both"):
            fill(cache, other.passes(), lambda _: None, threads=1)
    with pytest.raises(ValueError, match="make the key from both"):
        fill(cache, plain.having(rows=relabelled).passes(), lambda _: None, threads=1)


def test_an_error_of_the_data_ends_the_filling_and_leaves_no_half_shard(plain):
    def contents(names):
        if plain.rows.names[70] in names:
            raise DataError("has changed since it was registered")
        return plain.rows.contents(names)

    threads = threading.active_count()
    with pytest.raises(DataError, match="has changed"):
        plain.having(rows=replace(plain.rows, contents=contents)).filled(threads=1)
    assert threading.active_count() == threads
    cache = FeatureCache(plain.root, plain.key())
    assert [path.name for path in cache.shards.iterdir()] == [f"{0:012}"]
    assert plain.filled()[1] == ROWS - 64


def test_an_error_of_the_caller_ends_the_filling(viewed):
    def refuse(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill(FeatureCache(viewed.root, viewed.key()), viewed.passes(), refuse, threads=1)
    assert viewed.filled()[1] < 3 * ROWS


@pytest.mark.parametrize(
    ("total", "rows"),
    [(1, 64), (500, 64), (32_768, 64), (32_769, 128), (1_000_000, 1984), (8_388_608, 16_384), (92_000_000, 16_384)],
)
def test_rows_of_a_shard(total, rows):
    assert shard_rows(total) == rows
