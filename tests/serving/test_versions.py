"""Numbered versions: the next free one, whole or absent."""

from pathlib import Path

import pytest

from mcss_tf.errors import InputError
from mcss_tf.serving.exported import ExportedModel
from mcss_tf.serving.versions import new_version, newest, versions


def test_the_newest_is_the_largest_number_not_the_last_name(tmp_path: Path) -> None:
    for name in ("1", "9", "10", "notes", ".writing-x"):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == [1, 9, 10]
    assert newest(tmp_path) == tmp_path / "10"


def test_two_exports_at_once_get_two_versions(tmp_path: Path) -> None:
    with new_version(tmp_path) as first:
        (first / "file").write_text("first")
        with new_version(tmp_path) as second:
            (second / "file").write_text("second")
    assert [(tmp_path / name / "file").read_text() for name in ("1", "2")] == ["second", "first"]


def test_a_failed_export_leaves_no_version(tmp_path: Path) -> None:
    def fill_the_disk() -> None:
        with new_version(tmp_path) as folder:
            (folder / "half").write_text("half")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fill_the_disk()
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"Received: .*none, which does not exist. Make it with: python -m"):
        newest(tmp_path / "none")


def test_a_folder_without_versions(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"numbered versions .* Received: .* which holds none. Give the folder"
    ):
        newest(tmp_path)


def test_a_version_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    with pytest.raises(InputError, match=r"assets/mcss.json. Received: .*1 without it. Export the run again"):
        ExportedModel(tmp_path)
