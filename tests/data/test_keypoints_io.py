import json

import numpy as np
import pytest

from mcss_tf.data import keypoints_io
from mcss_tf.errors import InputError
from mcss_tf.geometry.joint_names import COCO_17
from mcss_tf.geometry.skeleton import HUMAN36M_17


def person(x, confidence=0.8, size=1.0, num_keypoints=17):
    """Returns [K, 3]: keypoints on a diagonal of 40 x 100 pixels that starts at (x, 10)."""
    t = np.linspace(0, 1, num_keypoints)
    return np.stack([x + 40 * size * t, 10 + 100 * size * t, np.full(num_keypoints, confidence)], 1)


def write_frame(path, *people):
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = [{"pose_keypoints_2d": p.ravel().tolist()} for p in people]
    path.write_text(json.dumps({"version": 1.3, "people": entries}))


def test_frames_are_found_by_number(tmp_path):
    for frame in (0, 2, 10):
        write_frame(tmp_path / f"walk_{frame:012d}_keypoints.json", person(frame))
    keypoints = keypoints_io.read_keypoints(tmp_path, 12)
    assert keypoints.shape == (12, 17, 3)
    assert np.flatnonzero(np.isfinite(keypoints).all((1, 2))).tolist() == [0, 2, 10]
    np.testing.assert_allclose(keypoints[10], person(10))


def test_the_large_sure_steady_person_is_followed(tmp_path):
    for frame in range(6):
        near, far = person(100 + frame), person(300, confidence=0.9, size=0.3)
        write_frame(tmp_path / f"{frame}.json", *((near, far) if frame % 2 else (far, near)))
    keypoints = keypoints_io.read_keypoints(tmp_path, 6)
    np.testing.assert_allclose(keypoints[:, 0, 0], 100 + np.arange(6))


def test_boxes_surround_confident_keypoints(tmp_path):
    wild = person(50)
    wild[3] = (900, 900, 0.02)
    write_frame(tmp_path / "0.json", wild)
    boxes = keypoints_io.keypoint_boxes(keypoints_io.read_keypoints(tmp_path, 2))
    np.testing.assert_allclose(boxes[0], [50, 10, 90, 110])
    assert np.isnan(boxes[1]).all()


def test_nobody_and_half_hidden_people_are_missing(tmp_path):
    hidden = person(0)
    hidden[3:, 2] = 0
    write_frame(tmp_path / "0.json")
    write_frame(tmp_path / "1.json", hidden)
    (tmp_path / "2.json").write_text('{"people": [{}]}')
    keypoints = keypoints_io.read_keypoints(tmp_path, 3)
    assert np.isnan(keypoint_boxes := keypoints_io.keypoint_boxes(keypoints)).all()
    assert keypoint_boxes.shape == (3, 4)


def test_on_skeleton(tmp_path):
    write_frame(tmp_path / "0.json", person(0))
    mapped = keypoints_io.on_skeleton(tmp_path, 2, COCO_17, HUMAN36M_17)
    assert mapped.shape == (2, 17, 3)
    knee = person(0)[COCO_17.index("left_knee")]
    np.testing.assert_allclose(mapped[0, HUMAN36M_17.index("left_knee")], knee, rtol=1e-5)
    assert not mapped[1].any()
    with pytest.raises(InputError, match="says that a person has 16 keypoints. Received: 17"):
        keypoints_io.on_skeleton(tmp_path, 2, COCO_17[:16], HUMAN36M_17)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"persons": []}',
        '{"people": [{"keypoints": []}]}',
        '{"people": [{"pose_keypoints_2d": [1]}]}',
    ],
)
def test_malformed_files_are_named(tmp_path, content):
    (tmp_path / "7.json").write_text(content)
    with pytest.raises(InputError, match=r"OpenPose JSON.*7\.json"):
        keypoints_io.read_keypoints(tmp_path, 10)


def test_other_errors(tmp_path):
    with pytest.raises(InputError, match="one JSON a frame"):
        keypoints_io.read_keypoints(tmp_path, 3)
    write_frame(tmp_path / "3.json", person(0))
    with pytest.raises(InputError, match=r"0 to 2 in this video. Received: .*3\.json"):
        keypoints_io.read_keypoints(tmp_path, 3)
    write_frame(tmp_path / "1.json", person(0, num_keypoints=25))
    with pytest.raises(InputError, match=r"same keypoints. Received: \[17, 25\]"):
        keypoints_io.read_keypoints(tmp_path, 4)


def test_real_keypoints(balancing):
    keypoints = keypoints_io.read_keypoints(balancing / "pose-associated" / "cam03_json", 100)
    assert keypoints.shape == (100, 25, 3)
    assert np.isfinite(keypoints).all((1, 2)).sum() == 99
