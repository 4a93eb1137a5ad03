"""Which files are sent, in what portions, and that many requests read like one."""

import asyncio

import pytest

from app.client import AsyncClient, HowsureApiError
from app.commands import score_files
from tests.fixtures.images import image_file
from tests.fixtures.server import ASSETS, CATS


@pytest.fixture
def folder(tmp_path):
    """Files below a folder, each of ten bytes."""

    def fill(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"0123456789")
        return tmp_path

    return fill


@pytest.fixture
def score():
    """`score(url, files, **options)` with an AsyncClient that does not retry."""

    async def run(url, files, **options):
        async with AsyncClient(url, retry_seconds=0) as client:
            return await score_files.score_files(client, files, **options)

    return lambda *arguments, **options: asyncio.run(run(*arguments, **options))


def test_a_folder_is_its_images_sorted_and_a_file_is_itself(folder):
    root = folder("b.JPG", "a/z.png", "a/y.webp", "notes.txt", ".hidden.jpg", ".cache/c.jpg", "c.tiff", "d.jpg/e.bmp")
    below = ["a/y.webp", "a/z.png", "b.JPG", "c.tiff", "d.jpg/e.bmp"]
    files = score_files.image_files([root / "notes.txt", root])
    assert files == [root / "notes.txt", *(root / name for name in below)]


def test_portions_end_at_32_files(folder):
    names = [f"{number:02}.jpg" for number in range(70)]
    root = folder(*names)
    portions = list(score_files.portions(root / name for name in names))
    assert [len(portion) for portion in portions] == [32, 32, 6]
    assert [file.name for portion in portions for file in portion] == names


def test_portions_end_before_they_get_too_large(folder, monkeypatch):
    monkeypatch.setattr(score_files, "BYTES_A_REQUEST", 25)
    root = folder("a", "b", "c", "d")
    (root / "b").write_bytes(bytes(100))
    portions = score_files.portions(root / name for name in "abcd")
    assert [[file.name for file in portion] for portion in portions] == [["a"], ["b"], ["c", "d"]]


def test_several_requests_read_like_one(score, server, folder, monkeypatch):
    monkeypatch.setattr(score_files, "FILES_A_REQUEST", 2)
    root = folder("bad.jpg", "worse.jpg", "alone.jpg")
    bad = [root / name for name in ("bad.jpg", "worse.jpg")]
    good = [ASSETS / "coffee.jpg", ASSETS / "chelsea.jpg"]
    reply = score(server.url, [*good, *bad, root / "alone.jpg"], scores=["entropy"], top_k=1)
    assert [item.input for item in reply.items] == [str(file) for file in (*good, *bad, root / "alone.jpg")]
    coffee, cat = reply.scored
    assert coffee.label == "espresso"
    assert cat.label in CATS
    assert {item.error.code for item in reply.failed} == {"image_format_unsupported"}
    assert reply.raw["usage"] == {"items": 5, "scored": 2, "failed": 3}
    assert reply.raw.keys() == {"object", "model", "version", "data", "usage"}


def test_several_requests_are_sorted_as_one(score, server, folder, monkeypatch):
    monkeypatch.setattr(score_files, "FILES_A_REQUEST", 2)
    root = folder("bad.jpg")
    for seed in range(6):
        (root / f"{seed}.jpg").write_bytes(image_file(seed))
    files = [root / "bad.jpg", *(root / f"{seed}.jpg" for seed in range(6))]
    plain = score(server.url, files)
    assert [item.input for item in plain.items] == [str(file) for file in files]
    values = {image.input: image.uncertainty["epistemic"].value for image in plain.scored}
    found = score(server.url, files, sort="epistemic")
    assert [item.input for item in found.items] == [*sorted(values, key=values.get, reverse=True), str(files[0])]
    assert [item["input"] for item in found.raw["data"]] == [item.input for item in found.items]
    assert found.raw["usage"] == plain.raw["usage"]


def test_no_image_at_all_could_be_scored(score, server, folder, monkeypatch):
    monkeypatch.setattr(score_files, "FILES_A_REQUEST", 2)
    root = folder("a.jpg", "b.jpg", "c.jpg")
    with pytest.raises(HowsureApiError, match="none of the 3 images could be scored") as raised:
        score(server.url, [root / name for name in ("a.jpg", "b.jpg", "c.jpg")])
    assert [error["input"] for error in raised.value.errors] == [str(root / f"{name}.jpg") for name in "abc"]
    assert len(raised.value.raw["errors"]) == 3


def test_an_error_of_the_whole_request_is_one_of_all(score, server, monkeypatch):
    monkeypatch.setattr(score_files, "FILES_A_REQUEST", 1)
    with pytest.raises(HowsureApiError, match="no model 'other'"):
        score(server.url, [ASSETS / "coffee.jpg", ASSETS / "chelsea.jpg"], model="other")


def test_two_versions_in_one_document_are_refused(score, scripted, folder, monkeypatch):
    monkeypatch.setattr(score_files, "FILES_A_REQUEST", 1)
    root = folder("a.jpg", "b.jpg")
    replies = [(200, {}, {"model": "m", "version": number, "data": []}) for number in (3, 4)]
    with pytest.raises(HowsureApiError, match="versions 3 and 4 of m answered"):
        score(scripted(*replies).url, [root / "a.jpg", root / "b.jpg"])
