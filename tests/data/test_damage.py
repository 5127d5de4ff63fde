"""Damage of a prepared dataset is found, named by file and record, and left out where that is asked for."""

import json
import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest

from mcss_tf import files
from mcss_tf.data import batches, damage
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.integrity import content_sha256
from mcss_tf.errors import InputError
from tests.helpers import make_tiny_dataset

BATCHES = {"image_size": 32, "num_pairs": 4, "num_labelled": 2, "min_gap_s": 0.0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "data"
    make_tiny_dataset(path, instants=8)
    return path


@pytest.fixture
def copy(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "data")
    return tmp_path / "data"


def flip(path, row, camera=1):
    """Flips a bit in the middle of an image and returns how the record is called."""
    dataset = PreparedDataset.load(path)
    index = dataset.index
    shard = path / dataset.metadata["shards"][index.shard[row]]["path"]
    at = index.offset[row] + index.image_offset[row, camera] + index.image_length[row, camera] // 2
    data = bytearray(shard.read_bytes())
    data[at] ^= 4
    shard.write_bytes(data)
    return dataset.name_record(row)


def replace_image(path, row, camera, jpeg):
    """Puts another image in the place of one, with checksums that are right: a hostile dataset."""
    dataset = PreparedDataset.load(path)
    index, metadata = dataset.index, json.loads((path / "dataset.json").read_text())
    start, length = index.offset[row], index.image_length[row, camera]
    assert len(jpeg) <= length
    at = start + index.image_offset[row, camera]
    shard = path / metadata["shards"][index.shard[row]]["path"]
    data = bytearray(shard.read_bytes())
    data[at : at + length] = jpeg + bytes(length - len(jpeg))
    shard.write_bytes(data)
    crc32, image_crc32 = index.crc32.copy(), index.image_crc32.copy()
    crc32[row] = zlib.crc32(data[start : start + index.length[row]])
    image_crc32[row, camera] = zlib.crc32(data[at : at + length])
    rewrite_index(path, crc32=crc32, image_crc32=image_crc32)
    return dataset.name_record(row)


def rewrite_index(path, **columns):
    with np.load(path / "index.npz") as arrays:
        content = {**arrays, **columns}
    np.savez(path / "index.npz", **content)
    rewrite_metadata(path, index_sha256=files.sha256(path / "index.npz"))


def rewrite_metadata(path, **changes):
    metadata = json.loads((path / "dataset.json").read_text()) | changes
    files.write_json(path / "dataset.json", metadata | {"content_sha256": content_sha256(metadata)})


def gigantic(jpeg):
    """Returns a JPEG whose header claims 11,000 pixels a side."""
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", 11_000, 11_000) + jpeg[at + 4 :]


def read_all(dataset):
    return list(batches.image_batches(dataset, "train", image_size=32, batch_size=8))


def test_a_flipped_bit_is_named_when_it_is_read(copy):
    name = flip(copy, row=11)
    dataset = PreparedDataset.load(copy)
    assert name == f"{copy}/records/S2/walk0.train.tfrecord, record 3 (frame 3)"
    expected = r"record 3 \(frame 3\) must be as it was written\. Received: other bytes .* camera cam1\."
    with pytest.raises(InputError, match=expected):
        dataset.read_images(np.array([11]), np.array([1]))
    dataset.read_images(np.array([11, 12]), np.array([0, 1]))  # its other images are whole
    with pytest.raises(InputError, match=r"record 3 .* Received: other bytes than were written\. "):
        dataset.read([11])
    with pytest.raises(InputError, match="must be as `prepare` wrote it"):
        dataset.verify()


@pytest.mark.parametrize("read", [read_all, lambda d: list(batches.train_batches(d, **BATCHES).take(8))])
def test_tf_data_passes_the_name_on(copy, read):
    name = flip(copy, row=5)
    dataset = PreparedDataset.load(copy)
    with pytest.raises(InputError) as raised, damage.named_faults(dataset):
        read(dataset)
    assert str(raised.value).startswith(f"{name} must be as it was written. Received: other bytes")


@pytest.mark.parametrize("kind", ["undecodable", "gigantic"])
def test_an_image_with_right_checksums_is_named_too(copy, kind):
    jpeg = cv2.imencode(".jpg", np.zeros((32, 32, 3), np.uint8))[1].tobytes()
    name = replace_image(copy, 6, 2, gigantic(jpeg) if kind == "gigantic" else b"no image")
    dataset = PreparedDataset.load(copy)
    with pytest.raises(InputError) as raised, damage.named_faults(dataset):
        read_all(dataset)
    assert f"{name}: An image " in str(raised.value)
    assert "Received: camera cam2" in str(raised.value)
    assert "--on_bad_record=skip" in str(raised.value)


def test_another_failure_is_passed_on(whole):
    with pytest.raises(ZeroDivisionError), damage.named_faults(PreparedDataset.load(whole)):
        raise ZeroDivisionError


def test_damaged_records_are_left_out_and_counted(copy, capsys):
    names = [flip(copy, row=row) for row in (2, 11)]
    dataset = PreparedDataset.load(copy, on_bad_record="skip")
    damage.print_skipped(dataset)
    told = capsys.readouterr().out
    assert "2 of 16 records are damaged and left out:" in told
    assert all(name in told for name in names)
    assert sorted(set(range(16)) - set(dataset.split_rows("train"))) == [2, 11]
    assert sum(len(batch["row"]) for batch in read_all(dataset)) == 3 * 14
    for batch in batches.train_batches(dataset, **BATCHES).take(8):
        assert not {2, 11} & set(batch["group"].numpy())


def test_a_missing_and_a_cut_shard_lose_their_own_records_only(copy):
    first, second = (copy / shard["path"] for shard in PreparedDataset.load(copy).metadata["shards"])
    first.unlink()
    second.write_bytes(second.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"S1/walk0.train.tfrecord must have .* Received: no such file"):
        PreparedDataset.load(copy)
    dataset = PreparedDataset.load(copy, on_bad_record="skip")
    assert dataset.split_rows("train").tolist() == list(range(8, 15))
    assert "FileNotFoundError" in dataset.skipped[0]
    assert "record 7 (frame 7) must be" in dataset.skipped[8]
    assert len(dataset.skipped) == 9
    first.write_bytes(b"")
    second.unlink()
    with pytest.raises(InputError, match="train split of .* must not be empty"):
        PreparedDataset.load(copy, require=("train",), on_bad_record="skip")


def test_a_changed_dataset_json_is_noticed(copy):
    text = (copy / "dataset.json").read_text()
    (copy / "dataset.json").write_text(text.replace('"fps": 2.0', '"fps": 4.0'))
    with pytest.raises(InputError, match="dataset.json must be as `prepare` wrote it. Received: content"):
        PreparedDataset.load(copy)


@pytest.mark.parametrize("name", ["../S1.tfrecord", "/etc/passwd", "records/../../x", "a\0b", "..\\x", ""])
def test_shards_lie_in_the_folder(copy, name):
    shards = json.loads((copy / "dataset.json").read_text())["shards"]
    rewrite_metadata(copy, shards=[{**shards[0], "path": name}, shards[1]])
    with pytest.raises(InputError, match="shards of a dataset lie in its folder. Received: path"):
        PreparedDataset.load(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cameras": "abc"}, r"Received: cameras = 'abc'"),
        ({"crop_size": True}, r"Received: crop_size = True"),
        ({"crop_size": 10**6}, r"at most 8192 pixels a side. Received: crop_size=1000000"),
        ({"crop_context": float("nan")}, r"Received: crop_context = nan"),
        ({"shards": [{}]}, r"Received: shards\[0\]\.path = nothing"),
        ({"skeleton": {}}, r"Received: skeleton.name = nothing"),
    ],
)
def test_a_dataset_json_of_the_wrong_kind(copy, changes, message):
    rewrite_metadata(copy, **changes)
    with pytest.raises(InputError, match=message):
        PreparedDataset.load(copy)


def column(path, name):
    with np.load(path / "index.npz") as arrays:
        return arrays[name].copy()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("shard", 2, "shard must be 0 to 1. Received: 2"),
        ("sequence", -1, "sequence must be 0 to 1. Received: -1"),
        ("offset", 10**9, "a record lies in its shard"),
        ("image_length", -5, "an image in its record"),
        ("time_s", np.nan, "times and poses are finite"),
    ],
)
def test_an_index_that_points_elsewhere(copy, name, value, message):
    array = column(copy, name)
    array[3] = value
    rewrite_index(copy, **{name: array})
    with pytest.raises(InputError, match=message):
        PreparedDataset.load(copy)


def test_an_index_of_the_wrong_kind(copy):
    rewrite_index(copy, frame=column(copy, "frame").astype(float))
    with pytest.raises(InputError, match=r"frame must be int64 \(16,\). Received: float64 \(16,\)"):
        PreparedDataset.load(copy)
    rewrite_index(copy, frame=np.array([{}] * 16))
    with pytest.raises(InputError, match="index.npz must be a NumPy archive of plain arrays"):
        PreparedDataset.load(copy)


def test_datasets_of_earlier_versions_have_no_checksums_of_records(copy):
    with np.load(copy / "index.npz") as arrays:
        content = {name: array for name, array in arrays.items() if "crc32" not in name}
    np.savez(copy / "index.npz", **content)
    rewrite_metadata(copy, index_sha256=files.sha256(copy / "index.npz"))
    dataset = PreparedDataset.load(copy)
    assert dataset.index.crc32 is None
    assert len(read_all(dataset)) == 6
