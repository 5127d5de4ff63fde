"""Turns calibrated keypoints into 3D labels: python -m mcss_tf.triangulate --input=... --output=...

Writes <output>/<subject>/<sequence>/poses.npz, which `prepare` takes as labels, the same as
<output>/<subject>/<sequence>.trc for other programs, and <output>/triangulation.json with the errors.
With the recordings folder itself as output, `prepare` finds the labels at once.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rich
import rich.box
import rich.table
from absl import app, flags, logging

import mcss_tf.startup  # noqa: F401  (before TensorFlow is imported)
from mcss_tf import files
from mcss_tf.data import poses_io, trc
from mcss_tf.data.keypoint_poses import KeypointPoses, Thresholds, triangulate_sequence
from mcss_tf.data.sources.recording_settings import read_settings
from mcss_tf.data.sources.recordings import RecordingOptions, RecordingSequence, RecordingsSource
from mcss_tf.errors import InputError, tells_disk_errors
from mcss_tf.geometry.canonical import to_z_up

FLAGS = flags.FLAGS


def triangulate_recordings(
    recordings: Path, output: Path, thresholds: Thresholds, up_axis: str = "z"
) -> dict[str, Any]:
    """Triangulates every sequence of a recordings folder and writes its labels.

    Args:
        recordings: the folder of subjects (docs/recordings.md), with keypoints and cameras.toml.
        output: where labels go, by subject and sequence; may be `recordings`.
        thresholds: of valid points.
        up_axis: axis of the calibration's world that points up.

    Returns:
        The content of triangulation.json: by sequence its frames, the fraction of valid points and, by
        camera, the median reprojection error and the fraction of its keypoints that was used.

    Raises:
        InputError: a sequence cannot be triangulated, or has labels already; nothing is written then.
    """
    source = RecordingsSource(RecordingOptions(root=recordings, boxes="full"))
    settings = read_settings(recordings / "recordings.toml")
    specs = source.sequences()
    for spec in specs:
        _check_free(output, spec)
    results = [triangulate_sequence(source, spec, settings, thresholds) for spec in specs]
    for spec, poses in zip(specs, results, strict=True):
        _write(output, spec, poses, up_axis)
    report = {
        "thresholds": dataclasses.asdict(thresholds),
        "sequences": {s.name: _summary(poses) for s, poses in zip(specs, results, strict=True)},
    }
    files.write_json(output / "triangulation.json", report)
    return report


def _check_free(output: Path, spec: RecordingSequence) -> None:
    folder = output / spec.subject / spec.sequence
    if folder.is_dir() and (found := poses_io.find_pose_file(folder)) is not None:
        raise InputError(
            "Labels are never overwritten. "
            f"Received: --output={output}, where {spec.name} has {found.name}. Remove it, or choose another "
            "folder."
        )


def _write(output: Path, spec: RecordingSequence, poses: KeypointPoses, up_axis: str) -> None:
    """The .trc lies beside the sequence's folder: inside, it would be a second label file."""
    folder = output / spec.subject / spec.sequence
    z_up = to_z_up(poses.joints_mm, up_axis)
    trc.write_trc(folder.with_name(f"{folder.name}.trc"), z_up, poses.frames, poses.joint_names, poses.fps)
    poses_io.write_npz(folder / "poses.npz", poses.joints_mm, poses.frames, poses.joint_names, up_axis)


def _summary(poses: KeypointPoses) -> dict[str, Any]:
    cameras = {}
    for name, errors, used in zip(poses.cameras, poses.errors_px, poses.is_used, strict=True):
        is_seen = np.isfinite(errors)
        cameras[name] = {
            "median_error_px": float(np.median(errors[is_seen])) if is_seen.any() else None,
            "used_fraction": float(used.sum() / max(is_seen.sum(), 1)),
        }
    return {
        "num_frames": len(poses.frames),
        "valid_fraction": float(np.isfinite(poses.joints_mm).all(-1).mean()),
        "cameras": cameras,
    }


def _print(report: dict[str, Any]) -> None:
    table = rich.table.Table(box=rich.box.SIMPLE_HEAD)
    for position, name in enumerate(("sequence", "frames", "valid", "camera", "median error px", "used")):
        table.add_column(name, justify="left" if position in (0, 3) else "right")
    for name, sequence in report["sequences"].items():
        first = (name, str(sequence["num_frames"]), f"{sequence['valid_fraction']:.1%}")
        for camera, values in sequence["cameras"].items():
            error = values["median_error_px"]
            shown = "-" if error is None else f"{error:.1f}"
            table.add_row(*first, camera, shown, f"{values['used_fraction']:.0%}")
            first = ("", "", "")
    rich.print(table)


@tells_disk_errors
def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status."""
    del argv
    logging.set_verbosity(logging.WARNING)
    names = [field.name for field in dataclasses.fields(Thresholds)]
    try:
        thresholds = Thresholds(**{name: FLAGS[name].value for name in names})
        output = Path(FLAGS.output)
        report = triangulate_recordings(Path(FLAGS.input).resolve(), output, thresholds, FLAGS.up_axis)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    _print(report)
    print(f"wrote poses.npz and .trc of {len(report['sequences'])} sequences into {output}")
    return 0


def define_flags() -> None:
    """Defines the flags of the command line."""
    flags.DEFINE_string("input", None, "Recordings folder with keypoints and cameras.toml.", required=True)
    flags.DEFINE_string(
        "output", None, "Where labels go; the recordings folder itself is fine.", required=True
    )
    flags.DEFINE_float("min_confidence", Thresholds.min_confidence, "Least confidence of a used keypoint.")
    flags.DEFINE_float(
        "max_error_px", Thresholds.max_error_px, "A view that misses by more is dropped while three are left."
    )
    flags.DEFINE_float("min_angle_deg", Thresholds.min_angle_deg, "Least angle between a point's rays.")
    flags.DEFINE_enum(
        "up_axis", "z", ["x", "y", "z", "-x", "-y", "-z"], "The calibrated world's axis that points up."
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
