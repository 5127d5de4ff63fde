"""What tells one dataset of the grid from another."""

from mcss_tf.reproduction.runner import checksum
from tests.helpers import make_tiny_dataset
from tests.keypoint_datasets import make_keypoint_dataset


def test_a_dataset_of_keypoints_is_told_by_its_keypoints(tmp_path):
    """There are no crops, so a checksum of crops would be the same for all."""
    names = {"a": 5.0, "again": 5.0, "noisier": 6.0}
    one, again, other = (
        checksum(make_keypoint_dataset(tmp_path / name, noise_px=noise)) for name, noise in names.items()
    )
    assert one == again
    assert one != other


def test_a_dataset_of_images_is_told_by_its_crops(tmp_path):
    dataset = make_tiny_dataset(tmp_path / "data")
    assert checksum(dataset) == dataset.metadata["images_sha256"] != dataset.checksum
