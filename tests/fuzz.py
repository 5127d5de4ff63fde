"""Damaged and hostile files for every parser of ours: what is not refused by InputError is a fault.

Each parser has a small valid file. An input is that file after one to four random changes: bits, bytes, spans
and lines; numbers, strings and values of another kind; in archives also whole arrays of another kind.
"""

import dataclasses
import io
import json
import random
import re
import signal
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mcss_tf import files
from mcss_tf.data import boxes, images, keypoints_io, poses_io, trc
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.integrity import content_sha256
from mcss_tf.data.sources import human36m_files, mpi_inf_3dhp_files, panoptic_files, recording_settings
from mcss_tf.errors import InputError
from mcss_tf.geometry import cameras, skeletons
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.studio import bvh
from tests.data.sources import downloads
from tests.helpers import STANDING_MM, make_tiny_dataset

MAX_SECONDS = 5  # more counts as a hang
_WORDS = (
    b"nan", b"-inf", b"1e400", b"-1", b"0", b"1e-320", b"9" * 40, b"2.5", b"", b"null", b"true", b"[]", b"{}",
    b'""', b'"../../etc/passwd"', b"[" * 3000, b'{"a":' * 3000, b"\xff\xfe", b"\x00", "‮ü".encode(),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Parser:
    """A parser: a valid file, and what reads it from a folder in which it has been written."""

    name: str
    write: Callable[[Path], Path]
    read: Callable[[Path], Any]
    change: Callable[[random.Random, bytes], bytes]


class Hang(Exception):
    """An input took longer than `MAX_SECONDS`."""


def fuzz(parser: Parser, count: int, seed: int, folder: Path) -> dict[str, float]:
    """Reads `count` changed files.

    Returns:
        How many were accepted and refused, and the longest time of one in seconds.

    Raises:
        AssertionError: a parser raised anything but InputError, or hung; the input is kept in the folder.
    """
    rng = random.Random(f"{seed} {parser.name}")
    path = parser.write(folder)
    whole = path.read_bytes()
    parser.read(path)  # the valid file is read
    accepted, slowest_s = 0, 0.0
    previous = signal.signal(signal.SIGALRM, _raise_hang)
    try:
        for number in range(count):
            data = parser.change(rng, whole)
            path.write_bytes(data)
            start = time.monotonic()
            signal.alarm(MAX_SECONDS)
            try:
                parser.read(path)
                accepted += 1
            except InputError:
                pass
            except Exception as error:
                kept = folder / f"fault-{parser.name.replace(' ', '_')}-{number}"
                kept.write_bytes(data)
                raise AssertionError(f"{parser.name}, input {number} ({kept}): {error!r}") from error
            finally:
                signal.alarm(0)
            slowest_s = max(slowest_s, time.monotonic() - start)
    finally:
        signal.signal(signal.SIGALRM, previous)
    return {"inputs": count, "accepted": accepted, "refused": count - accepted, "slowest_s": slowest_s}


def _raise_hang(*_: Any) -> None:
    raise Hang


def change_bytes(rng: random.Random, data: bytes) -> bytes:
    """Changes a text or an archive without knowing what it is."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(changed) + 1)
        to = min(len(changed), at + rng.choice((1, 2, 8, 64, 1000)))
        kind = rng.randrange(7)
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[at:]
        elif kind == 2:
            del changed[at:to]
        elif kind == 3:
            changed[at:at] = changed[at:to]
        elif kind == 4:
            changed[at:to] = rng.randbytes(to - at)
        else:
            _replace_word(rng, changed)
    return bytes(changed)


def _replace_word(rng: random.Random, changed: bytearray) -> None:
    """Puts something strange where a number, a name or a bracket stands."""
    words = list(re.finditer(rb"-?\d[\d.e+-]*|\"[^\"]*\"|\w+|[\[\]{},:=\t\n]", changed))
    if words:
        word = rng.choice(words)
        changed[word.start() : word.end()] = rng.choice(_WORDS)


def change_arrays(rng: random.Random, data: bytes) -> bytes:
    """Changes the bytes of an .npz, or an array in it, or a member of the archive."""
    kind = rng.randrange(4)
    if kind == 0:
        return change_bytes(rng, data)
    with np.load(io.BytesIO(data)) as archive:
        arrays = dict(archive)
    name = rng.choice(list(arrays))
    file = io.BytesIO()
    if kind == 1:  # a member that is damaged, but whose checksum is right
        with zipfile.ZipFile(file, "w") as written, zipfile.ZipFile(io.BytesIO(data)) as read:
            for member in read.namelist():
                content = read.read(member)
                written.writestr(member, change_bytes(rng, content) if member == f"{name}.npy" else content)
        return file.getvalue()
    arrays[name] = _strange_array(rng, arrays[name])
    if rng.random() < 0.1:
        arrays.pop(name)
    np.savez(file, **arrays)
    return file.getvalue()


def _strange_array(rng: random.Random, array: np.ndarray) -> np.ndarray:
    kind = rng.randrange(7)
    if kind == 0:
        dtypes = ["U5", "S3", "O"] + (["f2", "f8", "i1", "u8", "c16", "?"] if array.dtype.kind != "U" else [])
        with np.errstate(all="ignore"):
            return array.astype(rng.choice(dtypes))
    if kind == 1:
        return array.reshape(-1)[: rng.randrange(array.size + 1)]
    if kind == 2:
        return array[None]
    if kind == 3:
        return array.T
    if kind == 4:
        return np.array(rng.choice([None, {}, "x", 3, np.nan, np.datetime64("2020")]))
    changed = array.copy()
    if changed.dtype.kind in "fiu" and changed.size:
        info = np.finfo if changed.dtype.kind == "f" else np.iinfo
        strange = [info(changed.dtype).max, info(changed.dtype).min, 0]
        strange += [np.nan, np.inf] if changed.dtype.kind == "f" else []
        changed.reshape(-1)[rng.randrange(changed.size)] = rng.choice(strange)
    return changed


def change_dataset_json(rng: random.Random, data: bytes) -> bytes:
    """Changes `dataset.json`; mostly with a right checksum, so that what comes after it is reached."""
    if rng.random() < 0.3:
        return change_bytes(rng, data)
    metadata = json.loads(data)
    for _ in range(rng.randint(1, 2)):
        _change_tree(rng, metadata)
    metadata["content_sha256"] = content_sha256(metadata)
    return json.dumps(metadata).encode()


def _change_tree(rng: random.Random, tree: Any) -> None:
    """Changes something, somewhere in what JSON holds."""
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        if not keys:
            return
        key = rng.choice(keys)
        if isinstance(tree[key], (dict, list)) and tree[key] and rng.random() < 0.8:
            tree = tree[key]
            continue
        if rng.random() < 0.2:
            del tree[key]
        else:
            strange = [
                None,
                True,
                -1,
                0,
                10**30,
                1e300,
                float("nan"),
                "",
                "../x",
                "/etc/passwd",
                "\0",
                [],
                {},
            ]
            tree[key] = rng.choice([*strange, [[1]], [None], {"a": 1}, "x" * 1000])
        return


def _write(name: str, data: bytes | str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
        return folder / name

    return write


def _npz(name: str, **arrays: Any) -> Callable[[Path], Path]:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return _write(name, file.getvalue())


def _write_dataset(folder: Path) -> Path:
    make_tiny_dataset(folder / "data", instants=2, cameras=2)
    return folder / "data" / "dataset.json"


def _write_index(folder: Path) -> Path:
    _write_dataset(folder)
    return folder / "data" / "index.npz"


def _read_index(path: Path) -> PreparedDataset:
    metadata = json.loads((path.parent / "dataset.json").read_text()) | {"index_sha256": files.sha256(path)}
    (path.parent / "dataset.json").write_text(
        json.dumps(metadata | {"content_sha256": content_sha256(metadata)})
    )
    dataset = PreparedDataset.load(path.parent)
    dataset.read(range(len(dataset.index)))
    return dataset


def _write_trc(folder: Path) -> Path:
    pose = np.tile(STANDING_MM.astype(float), (3, 1, 1))
    trc.write_trc(folder / "a.trc", pose, np.arange(3), HUMAN36M_17.joint_names, 30.0)
    return folder / "a.trc"


def _write_keypoints(folder: Path) -> Path:
    person = {"pose_keypoints_2d": np.random.default_rng(0).uniform(1, 90, 30).round(2).tolist()}
    (folder / "json").mkdir(exist_ok=True)
    for frame in range(3):
        (folder / "json" / f"cam.{frame}.json").write_text(json.dumps({"people": [person, person]}))
    return folder / "json" / "cam.1.json"


def _write_calibration(folder: Path) -> Path:
    rig = [
        cameras.look_at(name, (1000, 1000), 1145, (x, 4000, 1500), (0, 0, 900))
        for name, x in (("a", 0), ("b", 2000))
    ]
    cameras.save_calibration(folder / "cameras.toml", {camera.name: camera for camera in rig})
    return folder / "cameras.toml"


def _write_panoptic_calibration(folder: Path) -> Path:
    camera = cameras.look_at("00_00", (1920, 1080), 1145, (0, 4000, 1500), (0, 0, 900))
    entries = [
        {
            "name": name,
            "type": "hd",
            "resolution": list(camera.size),
            "K": camera.matrix.tolist(),
            "distCoef": camera.distortion.tolist(),
            "R": camera.rotation.tolist(),
            "t": camera.translation_mm[:, None].tolist(),
        }
        for name in ("00_00", "00_01")
    ]
    (folder / "calibration.json").write_text(json.dumps({"cameras": entries}))
    return folder / "calibration.json"


def _write_panoptic_people(folder: Path) -> Path:
    joints = np.random.default_rng(0).uniform(-90, 90, 76).round(2).tolist()
    bodies = [{"id": person, "joints19": joints} for person in (0, 3)]
    (folder / "body3DScene_00000007.json").write_text(json.dumps({"bodies": bodies}))
    return folder / "body3DScene_00000007.json"


def _write_human36m_metadata(folder: Path) -> Path:
    downloads.write_metadata(folder / "metadata.xml", downloads.human36m_cameras())
    return folder / "metadata.xml"


def _write_3dhp_calibration(folder: Path) -> Path:
    lines = [
        line for camera in downloads.dhp_cameras().values() for line in downloads.calibration_lines(camera)
    ]
    (folder / "camera.calibration").write_text("\n".join(lines) + "\n")
    return folder / "camera.calibration"


def _write_3dhp_test_calibration(folder: Path) -> Path:
    lines = downloads.test_calibration_lines("0", downloads.dhp_cameras()[0], focal_mm=7.5)
    (folder / "ts1-4cameras.calib").write_text("\n".join(lines) + "\n")
    return folder / "ts1-4cameras.calib"


_BVH = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Knee
  {
    OFFSET 0 -40 0
    CHANNELS 3 Zrotation Xrotation Yrotation
    End Site
    {
      OFFSET 0 -40 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.033333
0 90 0 10 20 30 5 6 7
1 90 0 10 20 30 5 6 8
"""
_SKELETON = """name = "biped"
[joints]
pelvis = ""
left_hip = "pelvis"
right_hip = "pelvis"
left_knee = "left_hip"
right_knee = "right_hip"
"""
_SETTINGS = """fps = 30.0
keypoints = "body_25"
cameras = ["a", "b"]
offsets_s = { a = 0.5 }
splits = { train = ["anna"], test = ["ben"] }
labels = { subjects = ["anna"] }
[sequences."anna/walk"]
action = "walking"
offsets_s = { b = 0.1 }
"""
_JPEG = cv2.imencode(".jpg", np.arange(48 * 64 * 3, dtype=np.uint8).reshape(48, 64, 3))[1].tobytes()
_POSES = {
    "joints_mm": np.tile(STANDING_MM, (3, 1, 1)),
    "frames": np.arange(3),
    "joint_names": np.array(HUMAN36M_17.joint_names),
    "up_axis": np.array("z"),
}
_BOXES = {"boxes": np.tile([1.0, 2, 30, 40], (2, 5, 1)), "cameras": np.array(["a", "b"])}

PARSERS = (
    Parser("TRC", _write_trc, lambda path: poses_io.read_poses(path, HUMAN36M_17, 3, 30.0), change_bytes),
    Parser("BVH", _write("a.bvh", _BVH), lambda path: bvh.read(path).positions(), change_bytes),
    Parser(
        "keypoint JSON",
        _write_keypoints,
        lambda path: keypoints_io.keypoint_boxes(keypoints_io.read_keypoints(path.parent, 3)),
        change_bytes,
    ),
    Parser("calibration TOML", _write_calibration, cameras.load_calibration, change_bytes),
    Parser(
        "dataset.json", _write_dataset, lambda path: PreparedDataset.load(path.parent), change_dataset_json
    ),
    Parser("index.npz", _write_index, _read_index, change_arrays),
    Parser(
        "boxes.npz",
        _npz("boxes.npz", **_BOXES),
        lambda path: boxes.read_box_file(path, ("a", "b"), {"a": 5, "b": 4}),
        change_arrays,
    ),
    Parser(
        "poses.npz",
        _npz("poses.npz", **_POSES),
        lambda path: poses_io.read_poses(path, HUMAN36M_17, 3, 30.0),
        change_arrays,
    ),
    Parser("skeleton TOML", _write("skeleton.toml", _SKELETON), skeletons.read_skeleton, change_bytes),
    Parser(
        "recordings.toml",
        _write("recordings.toml", _SETTINGS),
        recording_settings.read_settings,
        change_bytes,
    ),
    Parser(
        "Panoptic calibration", _write_panoptic_calibration, panoptic_files.read_calibration, change_bytes
    ),
    Parser(
        "Panoptic people",
        _write_panoptic_people,
        lambda path: panoptic_files.read_people.__wrapped__(path.parent),  # without its cache
        change_bytes,
    ),
    Parser("Human3.6M metadata", _write_human36m_metadata, human36m_files.read_cameras, change_bytes),
    Parser("3DHP calibration", _write_3dhp_calibration, mpi_inf_3dhp_files.read_calibration, change_bytes),
    Parser(
        "3DHP test cameras",
        _write_3dhp_test_calibration,
        lambda path: mpi_inf_3dhp_files.read_test_calibration(path, (2048, 2048)),
        change_bytes,
    ),
    Parser("image", _write("a.jpg", _JPEG), images.read_image, change_bytes),
)
