"""What an export says about itself comes from the dataset of its run, and from no other."""

from pathlib import Path

import keras
import pytest

from mcss_tf import files
from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.serving.metadata import describe_run


def info_of_a_run_on(folder: Path) -> dict:
    files.write_json(folder / "dataset.json", {"crop_size": 64, "skeleton": HUMAN36M_17.to_json()})
    checksum = files.sha256(folder / "dataset.json")
    return {"dataset": {"path": str(folder), "checksum": checksum}}


def test_joints_and_crops_are_those_of_the_dataset(model: keras.Model, tmp_path: Path) -> None:
    metadata = describe_run(model, info_of_a_run_on(tmp_path))
    assert metadata["crop"]["size"] == 64
    assert metadata["pose"]["joint_names"] == list(HUMAN36M_17.joint_names[1:])


def test_a_dataset_that_has_been_moved(model: keras.Model, tmp_path: Path) -> None:
    info = info_of_a_run_on(tmp_path)
    (tmp_path / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"from the dataset of its run, .* Received: no such file. Put that"):
        describe_run(model, info)


def test_a_dataset_that_has_been_prepared_anew(model: keras.Model, tmp_path: Path) -> None:
    info = info_of_a_run_on(tmp_path)
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"with sha256 [0-9a-f]{12}. Received: [0-9a-f]{12}. Put that dataset"
    ):
        describe_run(model, info)
