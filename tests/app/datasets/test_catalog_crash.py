"""The catalog after a process was killed, and on a disk that is full."""

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import time

import pytest

from app.datasets.catalog import DatasetCatalog
from app.datasets.incoming import PREFIX, Incoming
from app.errors import InsufficientStorageError
from models.data.limits import DataLimits
from tests.fixtures.catalogs import ZIP, add, csv_of, left


def die_in_the_middle(root, stage):
    if stage == "upload":
        incoming = Incoming(root)
        incoming.open("set.zip")
        incoming.write(ZIP[:1000])
    elif stage == "publish":
        Incoming.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        add(DatasetCatalog(root, None, DataLimits(), 0.05))
    else:
        catalog = DatasetCatalog(root, None, DataLimits(), 0.05)
        record, _ = add(catalog)
        shutil.rmtree = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        catalog.delete(record.id)
    os.kill(os.getpid(), signal.SIGKILL)


class TestCrash:
    @pytest.mark.parametrize("stage", ["upload", "publish", "delete"])
    def test_what_a_killed_process_left_is_swept(self, catalog, stage):
        process = multiprocessing.get_context("fork").Process(target=die_in_the_middle, args=(catalog.root, stage))
        process.start()
        process.join(30)
        assert process.exitcode == -signal.SIGKILL
        assert len(left(catalog)) == 1
        assert catalog.list(10) == ((), False)
        catalog.sweep()
        assert left(catalog) == []
        assert add(catalog)[1]

    def test_an_upload_of_a_living_process_is_left_alone_for_a_day(self, catalog):
        incoming = catalog.begin()
        catalog.sweep()
        assert left(catalog) == [incoming.folder.name]
        yesterday = time.time() - 90_000
        os.utime(incoming.folder, (yesterday, yesterday))
        catalog.sweep()
        assert left(catalog) == []
        incoming.discard()

    def test_other_folders_are_not_touched(self, catalog):
        (catalog.root / "mine").mkdir(parents=True)
        (catalog.root / f"{PREFIX}old").mkdir()
        catalog.sweep()
        assert left(catalog) == ["mine"]

    def test_what_is_gone_before_it_could_be_looked_at_is_passed_over(self, catalog):
        """As an upload is that its writer discards while a server starts; a link to nothing stands for it."""
        catalog.root.mkdir()
        (catalog.root / f"{PREFIX}gone").symlink_to(catalog.root / "nowhere")
        (catalog.root / f"{PREFIX}old").mkdir()
        catalog.sweep()
        assert left(catalog) == [f"{PREFIX}gone"]


class TestFullDisk:
    def test_a_limit_of_the_process(self, catalog):
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            with pytest.raises(InsufficientStorageError, match="no room left") as refused:
                add(catalog)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert refused.value.__cause__.errno == errno.EFBIG
        assert left(catalog) == []

    def test_a_small_file_system(self, tmp_path):
        """Every amount of room between nothing and enough: refused with nothing left, or kept whole."""
        root = tmp_path / "full"
        root.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", root], capture_output=True).returncode:
            pytest.skip("needs the right to mount a tmpfs")
        try:
            catalog = DatasetCatalog(root, None, DataLimits(), 0.05)
            content = csv_of(1, rows=5000)  # 30 kB
            kept = []
            for room in range(0, 120_000, 8192):
                (root / "filler").write_bytes(bytes(240_000 - room))
                try:
                    record, _ = add(catalog, content, "o.csv")
                except InsufficientStorageError:
                    assert left(catalog) == ["filler"]
                else:
                    kept.append(room)
                    assert catalog.open(record.id).rows == 5000
                    catalog.delete(record.id)
            assert kept
            assert kept[0] > len(content) - 20_480
        finally:
            subprocess.run(["umount", root], check=True)
