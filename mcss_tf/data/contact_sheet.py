"""A picture of what was cropped, because people look before they train."""

from pathlib import Path

import cv2
import numpy as np

from mcss_tf import files
from mcss_tf.data.boxes import square
from mcss_tf.data.dataset import SPLITS, PreparedDataset
from mcss_tf.data.records import decode_instant
from mcss_tf.geometry.cameras import Camera, project
from mcss_tf.geometry.skeleton import Skeleton

_CELL = 160
_CAPTION = 18
_MAX_ROWS = 24
_MAX_ROWS_PER_SUBJECT = 6
_LEFT, _RIGHT, _MIDDLE = (255, 150, 40), (60, 160, 255), (90, 220, 90)


def write_contact_sheet(dataset: PreparedDataset, path: Path) -> None:
    """Draws instants (rows) by cameras (columns) of every subject, atomically.

    The skeleton is drawn where an instant has 3D labels and the camera is calibrated, else from its 2D
    keypoints where there are some: right limbs in blue, left ones in orange.

    Args:
        dataset: a prepared dataset.
        path: of the PNG.
    """
    rows = [_row(dataset, row) for row in _choose_rows(dataset)]
    sheet = cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR)
    with files.atomic_write(path) as file:
        file.write(cv2.imencode(".png", sheet)[1].tobytes())


def _choose_rows(dataset: PreparedDataset) -> list[int]:
    """Returns rows of the index spread evenly over each subject's sequences and their time."""
    chosen: list[int] = []
    subjects = _spread(np.unique(dataset.index.subject), _MAX_ROWS)
    num_rows = min(_MAX_ROWS // len(subjects), _MAX_ROWS_PER_SUBJECT)
    for subject in subjects:
        sequences = np.unique(dataset.index.sequence[dataset.index.subject == subject])
        # Two instants of a sequence show that boxes follow; more sequences show more.
        sequences = _spread(sequences, max(1, num_rows // 2))
        for sequence in sequences:
            rows = np.flatnonzero(dataset.index.sequence == sequence)
            rows = rows[np.argsort(dataset.index.time_s[rows])]
            chosen += _spread(rows, num_rows // len(sequences)).tolist()
    return chosen


def _spread(values: np.ndarray, count: int) -> np.ndarray:
    return values[np.unique(np.linspace(0, len(values) - 1, count).round().astype(int))]


def _row(dataset: PreparedDataset, row: int) -> np.ndarray:
    """Draws one instant: a caption above one cell per camera, empty where it did not see the person."""
    instant = decode_instant(dataset.read([row])[0])
    calibration = dataset.calibration(int(dataset.index.sequence[row])) or {}
    width = max(_CELL * len(dataset.cameras), 2 * _CELL)
    canvas = np.zeros((_CAPTION + _CELL, width, 3), np.uint8)
    split = SPLITS[dataset.index.split[row]]
    name = f"{instant['subject']}/{instant['sequence']}"
    _write(
        canvas,
        (4, 13),
        f"{name}  {instant['time_s']:.2f} s  frame {instant['frame']}  {split}",
    )
    for view, camera in enumerate(instant["cameras"]):
        cell, box_px = _picture(instant, view)
        points, seen = _joints_px(instant, view, calibration.get(camera))
        if points is not None:
            _draw_skeleton(cell, _into_cell(points, box_px), seen, dataset.skeleton)
        _write(cell, (4, _CELL - 6), camera)
        column = dataset.cameras.index(camera) * _CELL
        canvas[_CAPTION:, column : column + _CELL] = cell
    return canvas


def _picture(instant: dict, view: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the cell and which part of the full frame it shows: without an image, around the keypoints."""
    if instant["images"]:
        cell = cv2.resize(instant["images"][view], (_CELL, _CELL), interpolation=cv2.INTER_AREA)
        return cell, instant["boxes_px"][view]
    points = instant["keypoints_px"][view]
    points = points[points[:, 2] > 0, :2] if (points[:, 2] > 0).any() else points[:, :2]
    box_px = np.concatenate([points.min(0), points.max(0)])[None]
    return np.zeros((_CELL, _CELL, 3), np.uint8), square(box_px, 1.25)[0]


def _joints_px(
    instant: dict, view: int, camera: Camera | None
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns the joints [J, 2] in the full frame and which of them were observed."""
    if instant["images"] and instant["joints_mm"] is not None and camera is not None:
        return project(camera, instant["joints_mm"]), instant["joint_mask"] > 0
    if instant["keypoints_px"] is not None:
        keypoints = instant["keypoints_px"][view]
        return keypoints[:, :2], keypoints[:, 2] > 0
    return None, None


def _into_cell(points_px: np.ndarray, box_px: np.ndarray) -> np.ndarray:
    return (points_px - box_px[:2]) * (_CELL / (box_px[2] - box_px[0]))


def _draw_skeleton(cell: np.ndarray, points: np.ndarray, seen: np.ndarray, skeleton: Skeleton) -> None:
    for parent, child in skeleton.edges:
        if seen[parent] and seen[child] and np.abs(points[[parent, child]]).max() < 10 * _CELL:
            colour = {"left": _LEFT, "right": _RIGHT}.get(skeleton.side(child), _MIDDLE)
            ends = [tuple(round(float(x)) for x in points[joint]) for joint in (parent, child)]
            cv2.line(cell, *ends, colour, 1, cv2.LINE_AA)


def _write(canvas: np.ndarray, at: tuple[int, int], text: str) -> None:
    """White on a black outline reads on any background."""
    for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.4, colour, thickness, cv2.LINE_AA)
