"""The square of the frame that is cropped, in every frame of every camera."""

from pathlib import Path

import numpy as np

from mcss_tf import files
from mcss_tf.data import keypoints_io, motion, tracking
from mcss_tf.data.video import VideoInfo
from mcss_tf.errors import InputError

BOX_MODES = ("auto", "file", "keypoints", "motion", "full")


def choose_mode(mode: str, sequence: Path, cameras: tuple[str, ...]) -> str:
    """Returns how boxes are found in a sequence, and makes sure that what it needs is there.

    `auto` is `file` where there is a boxes.npz, else `keypoints` where there is such a folder, else `motion`.

    Raises:
        InputError: if the mode is unknown or its files are missing.
    """
    if mode not in BOX_MODES:
        raise InputError(f"--boxes is one of {', '.join(BOX_MODES)}. Received: {mode!r}. Choose one of them.")
    if mode == "auto":
        has_keypoints = (sequence / "keypoints").is_dir()
        mode = "file" if (sequence / "boxes.npz").is_file() else "keypoints" if has_keypoints else "motion"
    if mode == "file" and not (sequence / "boxes.npz").is_file():
        raise InputError(
            f"--boxes=file needs a boxes.npz in every sequence. Received: {sequence} without one. "
            "Add it, or let boxes be found with --boxes=motion."
        )
    missing = [camera for camera in cameras if not (sequence / "keypoints" / camera).is_dir()]
    if mode == "keypoints" and missing:
        raise InputError(
            "Boxes from keypoints need keypoints/<camera>/*.json for every camera. "
            f"Received: {sequence} without {missing}. Add them, or find boxes with --boxes=motion."
        )
    return mode


def find_boxes(
    mode: str, sequence: Path, videos: dict[str, Path], infos: dict[str, VideoInfo], context: float
) -> dict[str, np.ndarray]:
    """Finds, smooths and squares the person's box in every frame of every camera of one sequence.

    Args:
        mode: "file", "keypoints", "motion" or "full".
        sequence: its folder.
        videos: by camera.
        infos: by camera.
        context: side of the square over the longer side of the person.

    Returns:
        By camera, float [F, 4] of whole numbers: x0, y0, x1, y1 of a square in pixels, which may reach beyond
        the frame; NaN where nobody was found.

    Raises:
        InputError: if a camera never sees a person, or the files are malformed.
    """
    squares = {}
    for camera, info in infos.items():
        if mode == "full":
            whole = np.array([0, 0, info.width, info.height], float)
            squares[camera] = square(np.tile(whole, (info.num_frames, 1)), 1.0)
            continue
        found = _raw_boxes(mode, sequence, camera, tuple(infos), videos[camera], info)
        if not np.isfinite(found).all(1).any():
            raise InputError(
                f"Every camera must see the person. Received: no person in any frame of {videos[camera]} "
                f"with --boxes={mode}. Remove the camera, or give boxes.npz or keypoints."
            )
        squares[camera] = square(tracking.fill_and_smooth(found, info.fps), context)
    return squares


def square(boxes_px: np.ndarray, context: float) -> np.ndarray:
    """Returns squares [F, 4] of `context` times the longer side around boxes [F, 4], on whole pixels."""
    centre = (boxes_px[:, :2] + boxes_px[:, 2:]) / 2
    side = np.maximum(np.rint(context * (boxes_px[:, 2:] - boxes_px[:, :2]).max(1, keepdims=True)), 2.0)
    corner = np.rint(centre - side / 2)
    return np.concatenate([corner, corner + side], 1)


def _raw_boxes(
    mode: str, sequence: Path, camera: str, cameras: tuple[str, ...], path: Path, info: VideoInfo
) -> np.ndarray:
    if mode == "file":
        return read_box_file(sequence / "boxes.npz", cameras, {camera: info.num_frames})[camera]
    if mode == "keypoints":
        folder = sequence / "keypoints" / camera
        return keypoints_io.keypoint_boxes(keypoints_io.read_keypoints(folder, info.num_frames))
    return motion.find_boxes(path, info.fps)


def read_box_file(path: Path, cameras: tuple[str, ...], num_frames: dict[str, int]) -> dict[str, np.ndarray]:
    """Reads boxes.npz: `boxes` [C, F, 4] in pixels, x0, y0, x1, y1, NaN where nobody is.

    Args:
        path: the file; its optional `cameras` names the C rows, else they are `cameras` in order.
        cameras: of the sequence.
        num_frames: of the videos of the cameras that are asked for.

    Returns:
        By camera asked for, float [num_frames, 4].

    Raises:
        InputError: if cameras or frames are missing, or a box is not x0 < x1, y0 < y1.
    """
    arrays = files.load_npz(path, "boxes.npz")
    try:
        boxes_px = np.asarray(arrays["boxes"], float)
        names = [str(name) for name in arrays["cameras"]] if "cameras" in arrays else list(cameras)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"boxes.npz must hold `boxes` [cameras, frames, 4]. Received: {path} ({error}). Write it again."
        ) from error
    if boxes_px.ndim != 3 or boxes_px.shape[2] != 4 or len(boxes_px) != len(names):
        raise InputError(
            f"`boxes` must have the shape [{len(names)} cameras, frames, 4]. "
            f"Received: {boxes_px.shape} in {path}. Write one row per camera: {', '.join(names)}."
        )
    if not (np.isnan(boxes_px).any(-1) | (boxes_px[..., 2:] > boxes_px[..., :2]).all(-1)).all():
        raise InputError(
            f"A box is x0, y0, x1, y1 with x0 < x1 and y0 < y1, or NaN. Received: others in {path}. "
            "Convert from x, y, width, height."
        )
    found = {}
    for camera, count in num_frames.items():
        if camera not in names or boxes_px.shape[1] < count:
            raise InputError(
                f"boxes.npz must cover the {count} frames of camera {camera}. Received: {path} with "
                f"{boxes_px.shape[1]} frames of {', '.join(names)}. Write it again."
            )
        found[camera] = boxes_px[names.index(camera), :count]
    return found
