"""The gallery page: who is on it, what it says, and that names cannot break it."""

import base64
import io
import re

import pytest
from PIL import Image

from app.client.replies import FailedImage, Problem, ScoredImage, ScoreReply, Uncertainty
from app.commands.gallery import gallery_page
from tests.fixtures.images import image_file

ALT = re.compile(r'<img src="data:image/jpeg;base64,([^"]+)" alt="([^"]*)"')


@pytest.fixture
def reply(tmp_path):
    """`reply(name, …)`: image files of these names, and a reply that is sorted in this order."""

    def reply(*names, form=None, percentile=0.25):
        items = []
        for place, name in enumerate(names):
            (tmp_path / name).write_bytes(image_file(place, size=(400, 100)))
            score = Uncertainty(1.0 / (place + 1), percentile, "aleatoric", form)
            path = str(tmp_path / name).replace('"', "%22")
            items.append(ScoredImage("pred_1", path, f"label {place}", place, 0.99999, 0.5, (), {"doubt": score}))
        failed = FailedImage("torn.jpg", Problem(415, "image_format_unsupported", "not an image"))
        return ScoreReply("m", 3, (*items, failed), {}), [tmp_path / name for name in names]

    return reply


@pytest.fixture
def shown():
    """`shown(page)`: for each of the two sections the file names in it."""

    def shown(page):
        most, _, least = page.partition("Least uncertain")
        return [[alt.partition(":")[0] for _, alt in ALT.findall(part)] for part in (most, least)]

    return shown


@pytest.mark.parametrize(
    ("size", "most", "least"),
    [(2, ["0.jpg", "1.jpg"], ["4.jpg", "3.jpg"]), (9, ["0.jpg", "1.jpg", "2.jpg"], ["4.jpg", "3.jpg"])],
)
def test_both_ends_and_no_image_twice(reply, shown, size, most, least):
    page = gallery_page(*reply(*(f"{number}.jpg" for number in range(5))), "doubt", size)
    assert shown(page) == [most, least]


def test_one_image_is_a_page_too(reply, shown):
    page = gallery_page(*reply("0.jpg"), "doubt", 24)
    assert shown(page) == [["0.jpg"], []]
    assert "Least uncertain" not in page


def test_a_file_that_is_gone_makes_room_for_the_next(reply, shown):
    found, files = reply(*(f"{number}.jpg" for number in range(6)))
    files[0].unlink()
    files[5].write_bytes(b"no image any more")
    assert shown(gallery_page(found, files, "doubt", 2)) == [["1.jpg", "2.jpg"], ["4.jpg", "3.jpg"]]


def test_a_file_that_was_not_sent_is_not_read(reply, shown):
    found, files = reply("0.jpg", "1.jpg")
    assert shown(gallery_page(found, files[1:], "doubt", 2)) == [[], ["1.jpg"]]


def test_thumbnails_keep_the_shape_of_the_picture(reply):
    page = gallery_page(*reply("0.jpg"), "doubt", 1)
    ((content, _),) = ALT.findall(page)
    with Image.open(io.BytesIO(base64.b64decode(content))) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (160, 40))


def test_what_is_printed(reply):
    page = gallery_page(*reply("0.jpg", "1.jpg", form="exact"), "doubt", 1)
    assert "Model m, version 3; score doubt (aleatoric); 2 images scored, 1 could not be; 20" in page
    assert "<b>label 0</b><span>confidence &gt;99.9%</span><span>doubt 1 (exact)</span>" in page
    assert "<span>percentile 25%</span>" in page
    assert "percentile" not in gallery_page(*reply("0.jpg", percentile=None), "doubt", 1).partition("How to read")[0]


def test_hostile_names_are_text_and_their_files_are_found(reply):
    names = ['"><script>alert(1)<', "a&amp;b.jpg", "ünïcødé 猫.jpg"]
    page = gallery_page(*reply(*names), "doubt", 9)
    assert len(ALT.findall(page)) == 3
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "a&amp;amp;b.jpg" in page


def test_nothing_is_loaded_from_elsewhere(reply):
    page = gallery_page(*reply("0.jpg", "1.jpg"), "doubt", 1)
    assert not re.search(r"https?:|<link|url\(|@import", page)
    assert page.count("<h2>") == 3
