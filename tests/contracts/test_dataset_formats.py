"""Every format that can be read: a sound file gives its rows, and no damage ends in anything but a reason."""

import random

import pytest

from models.core.errors import DataError
from models.data.open_dataset import FORMATS, READERS, format_of, open_dataset
from tests.fixtures.labelled_data import SAMPLES

FILES = {name: content for files in SAMPLES.values() for name, content in files.items()}
READ = {
    "images": lambda data, names: list(data.read(names)),
    "outputs": lambda data, names: data.outputs(names)[0],
    "questions": lambda data, names: data.questions(names),
}


def check(path):
    """Open, inspect and read all good rows, as a job does; True when there were any."""
    try:
        dataset = open_dataset(path)
    except DataError:
        return False
    found = dataset.inspect()
    assert found.rows == found.good + found.bad_count == dataset.rows
    assert sum(found.labels.values()) == found.good
    good = dataset.without(frozenset(found.unreadable))
    names = good.names
    assert len(names) == found.good
    assert len(READ[good.kind](good, names)) == len(names)
    return bool(names)


def test_every_format_has_a_sample_and_a_reader():
    assert set(FORMATS) == set(READERS) == {format_of(name) for name in FILES}


@pytest.mark.parametrize("name", FILES)
def test_a_sound_file(tmp_path, name):
    (tmp_path / name).write_bytes(FILES[name])
    assert check(tmp_path / name)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_off_anywhere(tmp_path, name):
    content = FILES[name]
    for length in random.Random(name).sample(range(len(content)), 40):
        (tmp_path / name).write_bytes(content[:length])
        check(tmp_path / name)


@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", FILES)
def test_a_file_with_damaged_bytes(tmp_path, name, count):
    chance = random.Random(name)
    for _ in range(count):
        content = bytearray(FILES[name])
        for _ in range(chance.choice((1, 1, 2, 8))):
            content[chance.randrange(len(content))] = chance.choice((0, 255, 32, chance.randrange(256)))
        (tmp_path / name).write_bytes(content)
        check(tmp_path / name)
