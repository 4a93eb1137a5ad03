import pytest

from app.jobs.folder import folder_of, tidy


@pytest.mark.parametrize(
    "job", ["", "job_", "job_x", "../job_1", "/etc", "job_1/..", "job_1\n", "jobs.db", "job_" + "0" * 65]
)
def test_only_ids_are_folders(tmp_path, job):
    with pytest.raises(ValueError, match="is not the id of a job"):
        folder_of(tmp_path, job)


def test_tidy_keeps_what_a_reader_may_want(tmp_path):
    folder = folder_of(tmp_path, "job_00ff")
    assert folder == tmp_path / "job_00ff"
    tidy(folder)
    for name in ("stages", "report", "outputs/float32", "version"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file").touch()
    (folder / "spec.json").touch()
    tidy(folder)
    assert sorted(path.name for path in folder.iterdir()) == ["report", "spec.json", "stages"]
    assert (folder / "stages/file").exists()
