"""The keypoints of a split in memory, with the cameras that saw them."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.example import decode_instant
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera
from mcss_tf.geometry.triangulation import normalise
from mcss_tf.geometry.units import check_millimetres, check_poses_millimetres

_CLIPS = 33  # a random stream beside those of `keypoint_batches`


@dataclasses.dataclass(frozen=True)
class KeypointViews:
    """Every instant of a split in memory (N instants, C cameras, J joints, Q sequences); 0 where absent.

    Attributes:
        row: int64 [N], in the dataset's index.
        sequence: int32 [N].
        is_seen: bool [N, C], the camera has keypoints of the instant.
        keypoints_px: float32 [N, C, J, 3], x, y in the full frame, confidence.
        rays: float32 [N, C, J, 2], keypoints with the lens undone: K^-1 x, where z = 1.
        keypoints_true_px: float32 [N, C, J, 2], where the joints truly are; None where unknown.
        rays_true: float32 [N, C, J, 2], the same as rays; None where unknown.
        joints_mm: float32 [N, J, 3], world.
        joint_mask: float32 [N, J], 1 where the joint is known in 3D.
        matrix, rotation: float32 [Q, C, 3, 3].
        translation_mm: float32 [Q, C, 3].
        cameras: C names.
    """

    row: np.ndarray
    sequence: np.ndarray
    is_seen: np.ndarray
    keypoints_px: np.ndarray
    rays: np.ndarray
    keypoints_true_px: np.ndarray | None
    rays_true: np.ndarray | None
    joints_mm: np.ndarray
    joint_mask: np.ndarray
    matrix: np.ndarray
    rotation: np.ndarray
    translation_mm: np.ndarray
    cameras: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, chosen: np.ndarray) -> "KeypointViews":
        """Returns the instants `chosen`, positions or bool [N]."""
        names = ("row", "sequence", "is_seen", "keypoints_px", "rays", "keypoints_true_px", "rays_true",
                 "joints_mm", "joint_mask")  # fmt: skip
        parts = {name: getattr(self, name) for name in names}
        return dataclasses.replace(self, **{n: None if a is None else a[chosen] for n, a in parts.items()})


def load_keypoint_views(
    dataset: PreparedDataset,
    split: str,
    *,
    cameras: Sequence[str] | None = None,
    clip_fraction: float = 1.0,
    clip_seed: int = 0,
) -> KeypointViews:
    """Reads the keypoints, 3D joints and cameras of a split.

    Args:
        dataset: with keypoints and calibration, from whatever source.
        split: "train" or "test".
        cameras: names of the cameras to use; None for all.
        clip_fraction: of each subject's sequences, drawn with `clip_seed`; at least one each.
        clip_seed: of that draw.

    Returns:
        Instants in the order of the index; those without keypoints are left out.

    Raises:
        InputError: no keypoints, no confidences, no calibration, an unknown camera, or a wrong unit.
    """
    cameras = tuple(dataset.cameras if cameras is None else cameras)
    unknown = [name for name in cameras if name not in dataset.cameras]
    if unknown or len(cameras) < 1 or len(set(cameras)) < len(cameras):
        raise InputError(
            f"Cameras are distinct ones of {dataset.path}: {dataset.cameras}. Received: {list(cameras)}. "
            "Correct their names."
        )
    rows = _rows_of_clips(dataset, dataset.split_rows(split), clip_fraction, clip_seed)
    instants = [decode_instant(data, with_images=False) for data in dataset.read(rows)]
    has_keypoints = np.array([i["keypoints_px"] is not None for i in instants], bool)
    if not has_keypoints.any():
        raise InputError(
            f"Lifting needs 2D keypoints. Received: none in the {split} split of {dataset.path}. Prepare "
            "recordings with keypoints (and `keypoints` in recordings.toml), or --source=mocap."
        )
    rows = rows[has_keypoints]
    arrays = _arrays([i for i in instants if i["keypoints_px"] is not None], cameras, dataset)
    _check_confidences(arrays["keypoints_px"], arrays["is_seen"], dataset)
    check_poses_millimetres(arrays["joints_mm"], arrays["joint_mask"], str(dataset.path))
    sequence = dataset.index.sequence[rows]
    calibrations = _calibrations(dataset, np.unique(sequence), cameras)
    for name in ("keypoints_px", "keypoints_true_px"):
        rays = (
            None
            if arrays[name] is None
            else _rays(arrays[name], arrays["is_seen"], sequence, calibrations, cameras)
        )
        arrays["rays" if name == "keypoints_px" else "rays_true"] = rays
    stacked = _stack(calibrations, cameras, len(dataset.sequences))
    return KeypointViews(row=rows, sequence=sequence, cameras=cameras, **arrays, **stacked)


def _rows_of_clips(dataset: PreparedDataset, rows: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Returns the rows of a fraction of each subject's sequences; smaller fractions are parts of larger."""
    if not 0 < fraction <= 1:
        raise InputError(f"clip_fraction is above 0, at most 1. Received: {fraction}. Correct it.")
    index, kept = dataset.index, []
    for subject in np.unique(index.subject[rows]):
        sequences = np.unique(index.sequence[rows[index.subject[rows] == subject]])
        order = np.random.default_rng([seed, _CLIPS, int(subject)]).permutation(sequences)
        kept.append(order[: max(1, round(fraction * len(order)))])
    return rows[np.isin(index.sequence[rows], np.concatenate([*kept, np.zeros(0, int)]))]


def _arrays(
    instants: list[dict], cameras: tuple[str, ...], dataset: PreparedDataset
) -> dict[str, np.ndarray | None]:
    """Returns the arrays of `KeypointViews` that stand in the records."""
    size, num_joints = (len(instants), len(cameras)), dataset.skeleton.num_joints
    arrays: dict[str, np.ndarray | None] = {
        "is_seen": np.zeros(size, bool),
        "keypoints_px": np.zeros((*size, num_joints, 3), np.float32),
        "keypoints_true_px": np.zeros((*size, num_joints, 2), np.float32),
        "joints_mm": np.zeros((len(instants), num_joints, 3), np.float32),
        "joint_mask": np.zeros((len(instants), num_joints), np.float32),
    }
    for n, instant in enumerate(instants):
        for view, name in enumerate(instant["cameras"]):
            if name in cameras:
                at = n, cameras.index(name)
                arrays["is_seen"][at] = True
                arrays["keypoints_px"][at] = instant["keypoints_px"][view]
                if instant["keypoints_true_px"] is not None:
                    arrays["keypoints_true_px"][at] = instant["keypoints_true_px"][view]
        if instant["joints_mm"] is not None:
            mask = (instant["joint_mask"] > 0) & np.isfinite(instant["joints_mm"]).all(-1)
            arrays["joints_mm"][n] = np.where(mask[:, None], instant["joints_mm"], 0.0)
            arrays["joint_mask"][n] = mask
    if any(instant["keypoints_true_px"] is None for instant in instants):
        arrays["keypoints_true_px"] = None
    return arrays


def _check_confidences(keypoints_px: np.ndarray, is_seen: np.ndarray, dataset: PreparedDataset) -> None:
    confidence = keypoints_px[is_seen][..., 2]
    is_wrong = not np.isfinite(confidence).all() or (confidence < 0).any()
    if is_wrong or not (confidence > 0).any():
        raise InputError(
            "Keypoints carry a confidence of 0 or more each, which weighs them. Received: confidences are "
            f"{'negative or NaN' if is_wrong else 'all 0'} in {dataset.path}. "
            "Store 1 where the detector gave none."
        )


def _calibrations(
    dataset: PreparedDataset, sequences: np.ndarray, cameras: tuple[str, ...]
) -> dict[int, dict[str, Camera]]:
    """Returns the used cameras of each sequence; a camera that it lacks is simply absent."""
    found = {}
    for sequence in sequences:
        entry = dataset.sequences[sequence]
        calibration = dataset.calibration(int(sequence)) or {}
        missing = [name for name in cameras if name in entry["cameras"] and name not in calibration]
        if missing:
            raise InputError(
                "Lifting trains on calibrated views. Received: "
                f"{entry['subject']}/{entry['sequence']} of {dataset.path} without calibration of "
                f"{', '.join(missing)}. Put cameras.toml into the recordings and prepare them again."
            )
        found[int(sequence)] = {name: calibration[name] for name in cameras if name in calibration}
        check_millimetres(list(found[int(sequence)].values()), str(dataset.path))
    return found


def _rays(
    keypoints_px: np.ndarray,
    is_seen: np.ndarray,
    sequence: np.ndarray,
    calibrations: dict[int, dict[str, Camera]],
    cameras: tuple[str, ...],
) -> np.ndarray:
    rays = np.zeros((*keypoints_px.shape[:-1], 2), np.float32)
    for number, calibration in calibrations.items():
        for view, name in enumerate(cameras):
            chosen = np.flatnonzero((sequence == number) & is_seen[:, view])
            if len(chosen):
                rays[chosen, view] = normalise(calibration[name], keypoints_px[chosen, view, :, :2])
    return rays


def _stack(
    calibrations: dict[int, dict[str, Camera]], cameras: tuple[str, ...], num_sequences: int
) -> dict[str, np.ndarray]:
    """Returns matrix, rotation and translation by sequence and camera; 0 where there is no such camera."""
    shapes = {"matrix": (3, 3), "rotation": (3, 3), "translation_mm": (3,)}
    stacked = {
        field: np.zeros((num_sequences, len(cameras), *shape), np.float32) for field, shape in shapes.items()
    }
    for sequence, calibration in calibrations.items():
        for name, camera in calibration.items():
            for field, array in stacked.items():
                array[sequence, cameras.index(name)] = getattr(camera, field)
    return stacked
