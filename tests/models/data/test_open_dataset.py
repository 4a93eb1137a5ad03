"""Every format gives the rows that were put in; rows that are wrong are named with the reason."""

import gzip
import hashlib
import json

import numpy as np
import pytest

from models.core.errors import DataError
from models.core.image import read_image
from models.core.input_spec import InputSpec
from models.data.open_dataset import open_dataset
from tests.fixtures import labelled_data as made

SPEC = InputSpec(8, 8, 8, "nearest", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def opened(tmp_path):
    def opened(name, content):
        (tmp_path / name).write_bytes(content)
        return open_dataset(tmp_path / name)

    return opened


@pytest.mark.parametrize("name", made.SAMPLES["images"])
def test_images(opened, name):
    content = made.SAMPLES["images"][name]
    dataset = opened(name, content)
    assert (dataset.kind, dataset.rows, dataset.name) == ("images", 6, name.partition(".")[0])
    assert dataset.sha256 == hashlib.sha256(content).hexdigest()
    order = dataset.names[::-1]
    rows = list(dataset.read(order))
    assert tuple(row.name for row in rows) == order
    assert [row.label for row in rows] == made.LABELS[::-1] == [dataset.labels[name] for name in order]
    for row, pixels in zip(rows, made.PIXELS[::-1], strict=True):
        np.testing.assert_array_equal(read_image(row.content, SPEC), pixels)
    found = dataset.inspect()
    assert (found.rows, found.good, found.bad_count, found.labels) == (6, 6, 0, {"0": 2, "1": 2, "2": 2})


@pytest.mark.parametrize("name", made.SAMPLES["outputs"])
def test_outputs(opened, name):
    dataset = opened(name, made.SAMPLES["outputs"][name])
    assert (dataset.kind, dataset.rows, list(dataset.labels.values())) == ("outputs", 6, made.LABELS)
    logits, features = dataset.outputs(("row 6", "row 1"))
    np.testing.assert_array_equal(logits, made.LOGITS[[5, 0]])
    np.testing.assert_array_equal(features, made.FEATURES[[5, 0]])
    assert logits.dtype == features.dtype == np.float32
    assert dataset.inspect().labels == {"0": 2, "1": 2, "2": 2}


@pytest.mark.parametrize("wrap", ["", "top/"])
@pytest.mark.parametrize("kind", ["zip", "tar", "folder"])
def test_class_folders(opened, tmp_path, wrap, kind):
    members = {f"{wrap}{name}": content for name, content in made.in_class_folders().items()}
    system = {f"{wrap}.DS_Store": b"?", f"{wrap}cat/Thumbs.db": b"?", f"{wrap}dog/.hidden": b"?"}
    if kind == "folder":
        for name, content in (members | system).items():
            (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "data" / name).write_bytes(content)
        dataset = open_dataset(tmp_path / "data")
    else:
        dataset = opened(f"set.{kind}", {"zip": made.zipped, "tar": made.tarred}[kind](members | system))
    assert dataset.inspect().labels == {"cat": 2, "dog": 2, "eel": 2}
    assert dataset.inspect().bad_count == 0
    (row,) = dataset.read(("dog/4.png",))
    assert (row.label, row.content) == ("dog", made.IMAGES["4.png"][1])


def test_a_folder_with_an_index(tmp_path):
    (tmp_path / "data/images").mkdir(parents=True)
    for name, content in made.indexed().items():
        (tmp_path / "data" / name).write_bytes(content)
    dataset = open_dataset(tmp_path / "data")
    assert (dataset.source.format, list(dataset.labels.values())) == ("folder", made.LABELS)
    assert dataset.inspect().good == 6


def test_one_class_folder_is_a_class(opened):
    assert opened("set.zip", made.zipped({"cat/a.png": b"", "cat/b.png": b""})).names == ("cat/a.png", "cat/b.png")


def test_greyscale_arrays_and_class_names_as_labels(opened):
    labels = np.array(["cat", "dog", "", "eel", "cat", "dog"])
    dataset = opened("set.npz", made.saved(images=made.PIXELS[..., 0], labels=labels))
    assert dataset.findings.first == [("row 3", "its label is empty")]
    (row,) = dataset.read(("row 4",))
    assert row.label == "eel"
    np.testing.assert_array_equal(np.asarray(read_image(row.content, SPEC))[..., 1], made.PIXELS[3, ..., 0])
    as_bytes = opened("bytes.npz", made.saved(images=made.PIXELS, labels=labels.astype("S")))
    assert as_bytes.labels == dataset.labels


def test_every_wrong_row_of_an_archive_is_named(opened):
    members = made.indexed()
    members["index.csv"] += b"absent.png,1,x\r\n0.png,1,x\r\n,1,x\r\nshort.png\r\n1.png,,x\r\n"
    members |= {"images/torn.png": members["images/0.png"][:60], "images/text.png": b"text", "images/empty.png": b""}
    members["index.csv"] += b"torn.png,0,x\r\ntext.png,0,x\r\nempty.png,0,x\r\n"
    members |= {"images/extra.png": b"?", "images/.DS_Store": b"?", "README.md": b"?"}
    found = opened("set.zip", made.zipped(members)).inspect()
    reasons = dict(found.bad)
    assert " ".join(reasons) == "absent.png 0.png line 10 short.png 1.png extra.png torn.png text.png empty.png"
    assert "not there" in reasons["absent.png"]
    assert "twice" in reasons["0.png"]
    assert "no file" in reasons["line 10"]
    assert "label is empty" in reasons["short.png"]
    assert "does not name it" in reasons["extra.png"]
    assert "damaged" in reasons["torn.png"]
    assert "not an image" in reasons["text.png"]
    assert "zero bytes" in reasons["empty.png"]
    assert (found.rows, found.good, found.bad_count) == (15, 6, 9)
    assert found.unreadable == ("torn.png", "text.png", "empty.png")


def test_a_flipped_byte_in_a_zip_is_a_bad_row_and_refused_when_read(opened):
    content = bytearray(made.SAMPLES["images"]["indexed.zip"])
    content[content.index(b"IDAT") + 30] ^= 1
    dataset = opened("set.zip", bytes(content))
    assert dataset.inspect().bad == (("0.png", "damaged in the archive: its checksum does not fit"),)
    with pytest.raises(DataError, match=r"0\.png is damaged"):
        list(dataset.read(("0.png",)))
    rest = dataset.without(frozenset(dataset.inspect().unreadable))
    assert (len(rest.names), rest.inspect().bad_count, len(dataset.names)) == (5, 0, 6)


def test_only_the_first_hundred_bad_rows_are_kept(opened):
    members = made.indexed()
    members["index.csv"] += b"".join(b"%d.jpg,0,x\r\n" % number for number in range(250))
    found = opened("set.zip", made.zipped(members)).inspect()
    assert (len(found.bad), found.bad_count, found.rows) == (100, 250, 256)


BAD_VALUES = [
    ("nan", "logit 1"),
    ("inf", "logit 1"),
    ("-inf", "logit 1"),
    ("1e39", "logit 1"),
    ("x", "logit"),
    ("1_0", "logit"),
    ("", "logit"),
]


@pytest.mark.parametrize(("value", "reason"), BAD_VALUES)
def test_a_bad_number_in_a_csv(opened, value, reason):
    dataset = opened("o.csv", f"label,logit_0,logit_1\n0,1,2\n1,3,{value}\n\n1,5,6\n".encode())
    ((row, why),) = dataset.inspect().bad
    assert row == "row 2"
    assert reason in why
    np.testing.assert_array_equal(dataset.outputs(dataset.names)[0], [[1, 2], [5, 6]])


def test_wrong_rows_of_a_csv(opened):
    rows = b"cat,1,2\ndog,1\neel,1,2,3\n,1,2\ndog,4,5\n"
    dataset = opened("o.csv", b"\xef\xbb\xbflabel,logit_1,logit_0\n" + rows)
    assert dataset.inspect().bad == (
        ("row 2", "2 columns instead of 3"),
        ("row 3", "4 columns instead of 3"),
        ("row 4", "its label is empty"),
    )
    np.testing.assert_array_equal(dataset.outputs(("row 5",))[0], [[5, 4]])
    assert dataset.outputs(("row 5",))[1] is None


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"label": 1, "logits": [1, NaN]}', "logit 1 is NaN"),
        ('{"label": 1, "logits": [1, 2, 3]}', "3 logits instead of 2"),
        ('{"label": 1, "logits": [1, 2], "features": [1]}', "1 features instead of 0"),
        ('{"label": 1, "logits": ["1", "2"]}', "list of numbers"),
        ('{"label": 1, "logits": [true, 2]}', "list of numbers"),
        ('{"label": 1, "logits": [1, ' + "9" * 400 + "]}", "no number"),
        ('{"label": 1, "logits": [1, ' + "9" * 5000 + "]}", "no JSON"),
        ('{"label": 1, "logits": null}', "list of numbers"),
        ('{"label": 1}', "list of numbers"),
        ('{"label": 1.5, "logits": [1, 2]}', "`label`"),
        ('{"label": true, "logits": [1, 2]}', "`label`"),
        ('{"logits": [1, 2]}', "`label`"),
        ('{"label": "", "logits": [1, 2]}', "label is empty"),
        ("[1, 2]", "no JSON object"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
    ],
)
def test_a_bad_line_of_a_jsonl(opened, line, reason):
    dataset = opened("o.jsonl", f'{{"label": 0, "logits": [1, 2]}}\n\n{line}\n'.encode())
    ((row, why),) = dataset.inspect().bad
    assert row == "row 3"
    assert reason in why
    assert dataset.names == ("row 1",)


def test_bad_rows_of_an_npz(opened):
    logits = made.LOGITS.copy()
    logits[2, 1] = np.nan
    dataset = opened("o.npz", made.saved(logits=logits, label=np.array(["a", "b", "c", "", "b", "c"])))
    assert dataset.inspect().bad == (
        ("row 3", "logit 1 is NaN, infinite, or too large for float32"),
        ("row 4", "its label is empty"),
    )
    np.testing.assert_array_equal(dataset.outputs(("row 5",))[0], made.LOGITS[[4]])


LOGITS = made.LOGITS
REFUSED = {
    "text.zip": (b"text", "not a readable zip"),
    "zero.zip": (b"", "empty file"),
    "none.zip": (made.zipped({}), "no file in it"),
    "flat.zip": (made.zipped({"a.png": b"", "b.png": b""}), "neither index.csv nor class folders"),
    "unlabelled.zip": (
        made.zipped({"index.csv": b"file,order\na,1\n", "a": b""}),
        "lacks the column label.*file, order",
    ),
    "allbad.zip": (made.zipped({"index.csv": b"file,label\na,1\n"}), "no usable row: a: "),
    "headless.zip": (made.zipped({"index.csv": b""}), "lacks the column"),
    "utf16.zip": (made.zipped({"index.csv": "file,label\n".encode("utf-16")}), "line 1 is not UTF-8"),
    "quote.zip": (made.zipped({"index.csv": b'file,label\n"a,1\n'}), "index.csv, line 1: unexpected end of data"),
    "zero.tar": (b"", "empty file"),
    "text.tar": (b"text" * 500, "not a readable tar"),
    "text.tar.gz": (b"text" * 500, "gzip is damaged"),
    "cut.tar.gz": (made.SAMPLES["images"]["indexed.tar.gz"][:-20], "gzip is damaged or cut off"),
    "zero.csv": (b"", "needs the columns label, logit_0"),
    "nolabel.csv": (b"logit_0,logit_1\n1,2\n", "needs the columns label"),
    "gap.csv": (b"label,logit_0,logit_2\n0,1,2\n", "lacks logit_1"),
    "twice.csv": (b"label,logit_0,logit_0\n0,1,2\n", "names a column twice"),
    "single.csv": (b"label,logit_0\n0,1\n", "at least 2"),
    "header.csv": (b"label,logit_0,logit_1\n", "no usable row"),
    "latin.csv": (b"label,logit_0,logit_1\n\xe4,1,2\n", "line 2 is not UTF-8"),
    "zero.jsonl": (b"", "no usable row"),
    "text.jsonl": (b'{"text": "fine", "label": 0}\n', "no usable row: row 1: `logits`"),
    "zero.npz": (b"", "empty file"),
    "other.npz": (made.saved(a=made.LOGITS), "array named images or x; it has: a"),
    "nolabel.npz": (made.saved(logits=made.LOGITS), "array named label or labels or y"),
    "twolabels.npz": (made.saved(logits=made.LOGITS, label=LOGITS[:, 0], y=LOGITS[:, 0]), "exactly one array"),
    "floatlabel.npz": (made.saved(logits=made.LOGITS, label=LOGITS[:, 0]), "labels are float32"),
    "fewlabels.npz": (made.saved(logits=made.LOGITS, label=np.arange(5)), r"shape \(5,\), but there are 6 rows"),
    "flat.npz": (made.saved(logits=LOGITS[:, 0], label=np.arange(6)), r"logits are float32 \(6,\)"),
    "complex.npz": (made.saved(logits=LOGITS + 1j, label=np.arange(6)), "complex64: real numbers or text only"),
    "features.npz": (made.saved(logits=LOGITS, features=LOGITS[:3], label=np.arange(6)), "features are float32"),
    "floats.npz": (made.saved(images=made.PIXELS / 255, label=np.arange(6)), "give uint8 of shape"),
    "alpha.npz": (made.saved(images=np.zeros((6, 4, 4, 4), np.uint8), label=np.arange(6)), "give uint8 of shape"),
    "nopixels.npz": (made.saved(images=np.zeros((6, 0, 4), np.uint8), label=np.arange(6)), "0 x 4 pixels"),
    "norows.npz": (made.saved(images=np.zeros((0, 4, 4), np.uint8), label=np.arange(0)), "no usable row"),
    "offsets.npz": (made.saved(webp=np.zeros(9, np.uint8), offsets=np.array([0, 99]), label=np.arange(6)), "offsets"),
    "strip.npz": (made.saved(webp=np.zeros(9, np.uint8), offsets=np.array([0, 9]), label=np.arange(6)), "strip 1"),
    "data.txt": (b"", "of no known format"),
    "data.csv.gz": (b"", "of no known format"),
    "zip": (b"", "of no known format"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_with_the_reason(opened, name):
    content, message = REFUSED[name]
    with pytest.raises(DataError, match=message):
        opened(name, content)


def test_rows_are_read_again_from_where_they_lie(opened, tmp_path):
    """A gzip is unpacked once; its rows can be read in any order and twice."""
    dataset = opened("set.tar.gz", made.SAMPLES["images"]["indexed.tar.gz"])
    (tmp_path / "set.tar.gz").unlink()
    first, second = (list(dataset.read(("5.png", "0.png"))) for _ in range(2))
    assert first == second
    assert first[0].content == made.IMAGES["5.png"][1]


def test_the_name_may_be_given(tmp_path):
    (tmp_path / "content.jsonl.gz").write_bytes(gzip.compress(json.dumps({"label": 1, "logits": [1, 2]}).encode()))
    assert open_dataset(tmp_path / "content.jsonl.gz", name="mine").name == "mine"


def test_a_label_without_a_logit_is_a_bad_row(tmp_path):
    path = tmp_path / "outputs.csv"
    path.write_text("label,logit_0,logit_1\n0,1,2\n2,1,2\n-1,1,2\n1,1,2\n")
    dataset = open_dataset(path)
    assert list(dataset.labels.values()) == [0, 1]
    assert [reason for _, reason in dataset.findings] == ["label 2, but 2 logits", "label -1, but 2 logits"]
