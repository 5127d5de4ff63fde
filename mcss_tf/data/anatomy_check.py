"""Whether labelled poses can be people: units, up axis, left and right, and 3D against 2D."""

import dataclasses

import numpy as np

from mcss_tf.data.sources.frame_labels import Labels
from mcss_tf.geometry.cameras import Camera, project
from mcss_tf.geometry.skeleton import HUMAN36M_17, Skeleton, map_joints

# How far the joint farthest from the pelvis is, in a person of any size and posture.
_REACH_MM = (250.0, 2500.0)
# Labels and 2D joints of one motion capture agree to a pixel; detections to a share of a person's height.
MAX_EXACT_PX, MAX_DETECTED = 5.0, 0.05
# Knees that are bent by less say nothing about where the front is.
_MIN_BEND_MM = 20.0


@dataclasses.dataclass(frozen=True)
class Measured:
    """What the labels of a sequence show.

    Attributes:
        reprojection_px: by camera, the median distance of projected 3D from 2D joints; empty without 2D.
        problems: sentences; empty where all is well.
    """

    reprojection_px: dict[str, float]
    problems: list[str]


def check_labels(
    labels: Labels, cameras: dict[str, Camera], skeleton: Skeleton, is_exact: bool = True
) -> Measured:
    """Measures the labels of some frames of one sequence.

    Args:
        labels: 3D joints, and 2D joints where there are some.
        cameras: by name.
        skeleton: of the joints.
        is_exact: whether 2D joints come with the 3D ones; False for those that a detector found.

    Returns:
        Reprojection errors and problems.
    """
    distances, problems = {}, []
    for name, keypoints in (labels.keypoints_px or {}).items():
        plain, mirrored = (
            _distance_px(cameras[name], labels, keypoints, joints)
            for joints in (np.arange(skeleton.num_joints), np.array(skeleton.mirror))
        )
        distances[name] = plain
        if mirrored < 0.5 * plain and plain > 1.0:
            problems.append(
                f"left and right are swapped between 3D and 2D in camera {name}: the median distance is "
                f"{plain:.1f} px, and {mirrored:.1f} px with the sides exchanged"
            )
        elif plain > (MAX_EXACT_PX if is_exact else MAX_DETECTED * _height_px(keypoints)):
            problems.append(
                f"3D joints do not project onto the 2D joints of camera {name}: the median distance is "
                f"{plain:.1f} px. The calibration or the labels belong to something else"
            )
    return Measured(distances, problems + _pose_problems(labels, skeleton))


def _distance_px(camera: Camera, labels: Labels, keypoints: np.ndarray, joints: np.ndarray) -> float:
    is_known = (labels.joint_mask[:, joints] > 0) & (keypoints[..., 2] > 0)
    if not is_known.any():
        return 0.0
    points_px = project(camera, labels.joints_mm[:, joints])
    return float(np.median(np.linalg.norm(points_px - keypoints[..., :2], axis=-1)[is_known]))


def _height_px(keypoints: np.ndarray) -> float:
    """Returns the median height of the person in the pictures."""
    rows = np.where(keypoints[..., 2] > 0, keypoints[..., 1], np.nan)
    rows = rows[np.isfinite(rows).any(1)]
    return float(np.median(np.nanmax(rows, 1) - np.nanmin(rows, 1))) if len(rows) else 0.0


def _pose_problems(labels: Labels, skeleton: Skeleton) -> list[str]:
    problems = []
    root_mm = labels.joints_mm[:, [skeleton.root]]
    reach = np.where(labels.joint_mask > 0, np.linalg.norm(labels.joints_mm - root_mm, axis=-1), 0.0).max(1)
    is_seen = labels.joint_mask[:, skeleton.root] > 0
    if not is_seen.any():
        return []
    reach_mm = float(np.median(reach[is_seen]))
    if not _REACH_MM[0] <= reach_mm <= _REACH_MM[1]:
        problems.append(
            f"the joint farthest from the root is {reach_mm:.4g} mm away, where people have {_REACH_MM[0]:g} "
            f"to {_REACH_MM[1]:g} mm: the unit is another"
        )
    joints = np.where(labels.joint_mask[..., None] > 0, labels.joints_mm, np.nan)
    mapped, mask = map_joints(joints, skeleton.joint_names, HUMAN36M_17)
    body = {
        name: np.where(mask[:, j, None] > 0, mapped[:, j], np.nan)
        for j, name in enumerate(HUMAN36M_17.joint_names)
    }
    return problems + _up_problems(body) + _side_problems(body)


def _up_problems(body: dict[str, np.ndarray]) -> list[str]:
    """People lie and bend at times: only the median counts."""
    feet = (body["left_ankle"] + body["right_ankle"]) / 2
    up = _median(body["thorax"] - feet)
    if up is None or (np.abs(up).argmax() == 2 and up[2] > 0):
        return []
    return [
        f"the thorax lies at {np.round(up).tolist()} mm from the feet, which is not up along z: the world "
        "has another up axis, or the sequence shows a person lying"
    ]


def _side_problems(body: dict[str, np.ndarray]) -> list[str]:
    """Knees bend forward, and left is where up x forward points."""
    votes = []
    for side in ("left", "right"):
        hip, knee, ankle = (body[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle"))
        leg = ankle - hip
        share = ((knee - hip) * leg).sum(-1) / np.maximum((leg * leg).sum(-1), 1.0)
        forward = knee - hip - share[:, None] * leg
        left = np.cross([0.0, 0.0, 1.0], forward)
        is_bent = np.linalg.norm(forward, axis=-1) > _MIN_BEND_MM
        votes += list(np.sign(((body["left_hip"] - body["right_hip"]) * left).sum(-1)[is_bent]))
    votes = np.array(votes)[np.isfinite(votes)]
    if len(votes) >= 4 and votes.mean() < -0.5:
        return ["knees bend backward: left and right are swapped, or the world is mirrored"]
    return []


def _median(vectors: np.ndarray) -> np.ndarray | None:
    known = vectors[np.isfinite(vectors).all(-1)]
    return np.median(known, axis=0) if len(known) else None
