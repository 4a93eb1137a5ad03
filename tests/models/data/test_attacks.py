"""Files made to harm: to write or read elsewhere, to fill memory or disk, to run code, to hide one thing in another."""

import gzip
import io
import os
import pickle
import stat
import struct
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from models.core.errors import DataError
from models.data.limits import DataLimits, MiB
from models.data.open_dataset import open_dataset
from tests.fixtures import labelled_data as made
from tests.fixtures.image_files import encode

PNG = made.IMAGES["0.png"][1]
USUAL = DataLimits()
SMALL = DataLimits(rows=100, unpacked_bytes=MiB, line_bytes=1000, item_bytes=10_000)


@pytest.fixture
def refused(tmp_path):
    """`refused(name, content, message)`: refused, and without much memory taken."""

    def refused(name, content, message, limits=USUAL):
        (tmp_path / name).write_bytes(content)
        tracemalloc.start()
        try:
            with pytest.raises(DataError, match=message):
                open_dataset(tmp_path / name, limits=limits)
            assert tracemalloc.get_traced_memory()[1] < 20 * MiB
        finally:
            tracemalloc.stop()

    return refused


def entry(name, mode=0, **fields):
    found = zipfile.ZipInfo(name)
    found.external_attr = mode << 16
    for field, value in fields.items():
        setattr(found, field, value)
    return found


ESCAPES = ["../a.png", "cat/../../a.png", "/etc/a.png", "cat\\..\\a.png", "C:/a.png", "cat/a\n.png", "cat/\x1b[2J.png"]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("pack", [made.zipped, made.tarred])
def test_names_that_lead_elsewhere(refused, pack, name):
    ending = {made.zipped: "zip", made.tarred: "tar"}[pack]
    refused(f"set.{ending}", pack({**made.in_class_folders(), name: PNG}), "points outside|control characters")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_and_devices_in_a_zip(refused, mode):
    members = {**made.in_class_folders(), entry("cat/link.png", mode | 0o777): b"/etc/passwd"}
    refused("set.zip", made.zipped(members), "link or device, 'cat/link.png'")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar(refused, kind):
    member = tarfile.TarInfo("cat/link.png")
    member.type, member.linkname = kind, "/etc/passwd"
    content = made.tarred(made.in_class_folders(), [(member, b"")])
    refused("set.tar", content, "link, device or sparse file, 'cat/link.png'")


def test_a_sparse_file_in_a_tar(refused):
    member = tarfile.TarInfo("cat/hole.png")
    member.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**40), "GNU.sparse.name": "cat/hole.png"}
    refused("set.tar", made.tarred(made.in_class_folders(), [(member, b"")]), "sparse")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_members_of_one_name(refused):
    file = io.BytesIO(made.zipped(made.in_class_folders()))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("cat/0.png", b"other")
    refused("set.zip", file.getvalue(), "two members named 'cat/0.png'")
    again = tarfile.TarInfo("./cat/0.png")
    refused("set.tar", made.tarred(made.in_class_folders(), [(again, b"")]), "two members named 'cat/0.png'")


def test_an_encrypted_member(refused):
    content = bytearray(made.zipped(made.in_class_folders()))
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(magic) + offset] |= 1
    refused("set.zip", bytes(content), "encrypted")


ZEROS = {"cat/0.png": bytes(64 * MiB)}


def test_bombs_by_ratio(refused):
    refused("set.zip", made.zipped(ZEROS, compression=zipfile.ZIP_DEFLATED), "more than 200 times")
    refused("set.tar.gz", gzip.compress(made.tarred(ZEROS)), "more than 200 times")
    refused("set.jsonl.gz", gzip.compress((b" " * 999 + b"\n") * 64_000), "more than 200 times")
    refused(
        "set.npz", made.saved(images=np.zeros((64, 1024, 1024), np.uint8), label=np.zeros(64, int)), "more than 200"
    )


def test_bombs_by_size(refused):
    rows = np.random.default_rng(0).integers(0, 256, 2 * MiB, np.uint8)
    members = {f"cat/{number}.png": part.tobytes() for number, part in enumerate(np.split(rows, 32))}
    refused("set.zip", made.zipped(members), "more than the 1048576 bytes allowed", SMALL)
    refused("set.tar", made.tarred(members), "more than the 1048576 bytes allowed", SMALL)
    refused("set.tar.gz", gzip.compress(made.tarred(members)), "more than the 1048576 bytes allowed", SMALL)
    images = made.saved(images=rows.reshape(32, 256, 256), label=np.zeros(32, int))
    refused("set.npz", images, "more than the 1048576 bytes allowed", SMALL)
    noise = "".join(map(chr, rows % 90 + 33)).encode()
    lines = b"\n".join(noise[start : start + 500] for start in range(0, len(noise), 500))
    refused("set.jsonl.gz", gzip.compress(lines), "more than the 1048576 bytes", replace(SMALL, rows=10**6))
    flat = encode(np.zeros((1024 * 256, 256, 3), np.uint8)[:12800], "WEBP", lossless=True)
    strips = {"webp": np.frombuffer(flat, np.uint8), "offsets": np.array([0, len(flat)])}
    refused("set.npz", made.saved(**strips, label=np.zeros(50, int)), "unpack to more than the 1048576", SMALL)


def test_a_size_that_a_zip_lies_about(tmp_path):
    """What comes out beyond the claim is never produced; the row is bad."""
    members = {**made.in_class_folders(), "cat/bomb.png": bytes(8 * MiB)}
    content = bytearray(made.zipped(members, compression=zipfile.ZIP_DEFLATED))
    directory = content.rindex(b"PK\x01\x02")
    struct.pack_into("<L", content, directory + 24, 100)
    (tmp_path / "set.zip").write_bytes(content)
    dataset = open_dataset(tmp_path / "set.zip")
    tracemalloc.start()
    try:
        assert dataset.inspect().bad == (("cat/bomb.png", "damaged in the archive: its checksum does not fit"),)
        assert tracemalloc.get_traced_memory()[1] < 2 * MiB
    finally:
        tracemalloc.stop()


def test_too_many_members_and_rows(refused):
    many = {f"cat/{number}.png": b"" for number in range(101)}
    refused("set.zip", made.zipped(many), "more than 100 rows", SMALL)
    refused("set.tar", made.tarred(many), "more than 100 rows", SMALL)
    none = replace(SMALL, rows=-9_950)
    refused("set.zip", made.zipped(many), "101 members, at most 50", none)
    refused("set.tar", made.tarred(many), "more than 50 members", none)
    refused("o.csv", b"label,logit_0,logit_1\n" + b"0,1,2\n" * 101, "more than 100 rows", SMALL)
    refused("o.jsonl", b'{"label": 0, "logits": [1, 2]}\n' * 101, "more than 100 rows", SMALL)
    refused("o.npz", made.saved(logits=np.ones((101, 2)), label=np.ones(101, int)), "more than 100 rows", SMALL)
    refused("i.npz", made.saved(images=np.ones((101, 2, 2), np.uint8), label=np.ones(101, int)), "101 rows", SMALL)


def test_a_directory_that_claims_to_be_huge(refused):
    content = bytearray(made.zipped(made.in_class_folders()))
    end = content.rindex(b"PK\x05\x06")
    struct.pack_into("<L", content, end + 12, 2**32 - 2)
    refused("set.zip", bytes(content), "directory is too long")
    wide = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 2**40, 2**40, 2**50, 0)
    refused("set.zip", bytes(content[:end]) + wide + b"PK\x06\x07" + bytes(16) + bytes(content[end:]), "too long")


def test_a_huge_header_of_a_tar(refused):
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 2**33
    refused("set.tar", header.tobuf(tarfile.GNU_FORMAT) + bytes(10_240), "header of 8589934592 bytes")


def test_a_tar_that_ends_early_is_not_taken_for_a_short_one(refused):
    content = made.tarred(made.in_class_folders())
    cut = [cut for cut in range(512, len(content.rstrip(b"\0")), 512)]
    for length in cut:
        refused("set.tar", content[:length], "damaged or cut off")
    torn = bytearray(content)
    torn[1024:1030] = b"??????"  # in the header of the second member
    refused("set.tar", bytes(torn), "damaged or cut off after 1 files")


def test_an_archive_in_an_archive_is_not_followed(tmp_path):
    members = {**made.in_class_folders(), "cat/inner.zip": made.zipped({"../a.png": PNG})}
    (tmp_path / "set.zip").write_bytes(made.zipped(members))
    ((row, reason),) = open_dataset(tmp_path / "set.zip").inspect().bad
    assert row == "cat/inner.zip"
    assert "not an image" in reason


def test_an_image_too_large_for_memory(tmp_path):
    (tmp_path / "set.zip").write_bytes(made.zipped({"cat/0.png": PNG, "cat/1.png": bytes(10_001)}))
    assert open_dataset(tmp_path / "set.zip", limits=SMALL).findings.first == [("cat/1.png", "larger than 10000 bytes")]


class Evil:
    def __reduce__(self):
        return os.mkdir, (os.environ["HOWSURE_TEST_EVIL"],)


def test_pickles_are_never_loaded(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("HOWSURE_TEST_EVIL", str(tmp_path / "evil"))
    refused("o.npz", made.saved(logits=np.array([Evil()], object), label=np.zeros(1, int)), "never Python objects")
    refused("o.npz", made.zipped({"logits.npy": pickle.dumps(Evil()), "label.npy": b""}), "array logits is damaged")
    structured = np.zeros(3, [("a", "f4"), ("b", "f4")])
    refused("o.npz", made.saved(logits=structured, label=np.zeros(3, int)), "never Python objects")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    "claim",
    [(10**12, 3), (2**62, 2**62), (6, 4), (5, 3), (-6, -3), (6, 3, 0)],
    ids=lambda claim: "x".join(map(str, claim)),
)
def test_shapes_that_an_array_lies_about(refused, claim):
    header = repr({"descr": "<f4", "fortran_order": False, "shape": claim})
    header += " " * (117 - len(header)) + "\n"
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header.encode() + bytes(72)
    refused("o.npz", made.zipped({"logits.npy": content, "label.npy": content}), "claims|logits are float32")


@pytest.mark.parametrize("header", [b"__import__('os').abort()", b"{" * 5000, b"\xff" * 100, b"{'shape': (1,)}"])
def test_array_headers_that_are_none(refused, header):
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header
    refused("o.npz", made.zipped({"logits.npy": content}), "array logits is damaged")


def test_lines_and_fields_without_end(refused):
    refused("o.csv", b"label,logit_0,logit_1\n" + b"1" * 2000, "line 2 is longer than 1000 bytes", SMALL)
    refused("o.jsonl", b'{"label": 0}\n' + b"[" * 2000, "line 2 is longer than 1000 bytes", SMALL)
    quoted = b'label,logit_0,logit_1\n"' + b"1\n" * 100_000
    refused("o.csv", quoted, "field larger than field limit")
    refused("set.zip", made.zipped({"index.csv": b"file,label\n" + b"x" * 2000}), "line 2 is longer", SMALL)


@pytest.mark.parametrize("make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo], ids=["link", "pipe"])
def test_links_and_devices_in_a_folder(tmp_path, make):
    (tmp_path / "data/cat").mkdir(parents=True)
    (tmp_path / "data/cat/0.png").write_bytes(PNG)
    make(tmp_path / "data/cat/1.png")
    with pytest.raises(DataError, match=r"cat/1\.png is a link or device"):
        open_dataset(tmp_path / "data")


def test_a_folder_that_changes_under_the_reader(tmp_path):
    (tmp_path / "data/cat").mkdir(parents=True)
    for name in "ab":
        (tmp_path / f"data/cat/{name}.png").write_bytes(PNG)
    dataset = open_dataset(tmp_path / "data")
    (tmp_path / "data/cat/a.png").write_bytes(PNG + b"\0")
    with pytest.raises(DataError, match=r"cat/a\.png has changed"):
        list(dataset.read(("cat/a.png",)))
    assert open_dataset(tmp_path / "data").sha256 != dataset.sha256
    (tmp_path / "data/cat/b.png").unlink()
    with pytest.raises(DataError, match=r"cat/b\.png cannot be read: No such file"):
        list(dataset.read(("cat/b.png",)))
