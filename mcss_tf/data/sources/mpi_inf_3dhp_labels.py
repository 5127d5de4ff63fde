"""What the training and the test set of MPI-INF-3DHP share: options, and joints in the world."""

import dataclasses

import numpy as np

from mcss_tf.data.sources import frame_labels
from mcss_tf.data.sources.calibrated import CalibratedOptions
from mcss_tf.data.sources.mpi_inf_3dhp_files import Annotation
from mcss_tf.errors import InputError
from mcss_tf.geometry.cameras import Camera, camera_to_world
from mcss_tf.geometry.skeleton import Skeleton

POSES = ("metric", "universal")
CONTEXT = 1.4  # joints end at wrists, ankles and the top of the head


@dataclasses.dataclass(frozen=True)
class Mpi3dhpOptions(CalibratedOptions):
    """How MPI-INF-3DHP is prepared.

    Attributes:
        poses: "metric": annot3, true millimetres; "universal": univ_annot3, everybody scaled to one height,
            as published numbers on the test set use.
    """

    poses: str = "metric"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.poses not in POSES:
            raise InputError(f"--poses is one of {', '.join(POSES)}. Received: {self.poses}. Choose one.")


def world_joints(
    camera: Camera,
    annotation: Annotation,
    frames: np.ndarray,
    poses: str,
    names: tuple[str, ...],
) -> np.ndarray:
    """Returns joints [F, K, 3] in the world of `camera`, mm.

    "universal" poses stand where the true ones do: scaling about each camera's centre, as univ_annot3 does,
    would put them elsewhere for every camera.
    """
    metric_mm = camera_to_world(camera, annotation.camera_mm[frames])
    if poses == "metric":
        return metric_mm
    pelvis = names.index("pelvis")
    universal_mm = camera_to_world(camera, annotation.universal_mm[frames])
    return universal_mm - universal_mm[:, [pelvis]] + metric_mm[:, [pelvis]]


def views(
    annotations: dict[str, Annotation],
    cameras: dict[str, Camera],
    frames: np.ndarray,
    names: tuple[str, ...],
    skeleton: Skeleton,
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Returns boxes around the joints in every picture, and the joints on the skeleton."""
    points = {name: annotation.points_px[frames] for name, annotation in annotations.items()}
    boxes_px = {name: frame_labels.boxes_of_points(p, cameras[name].size) for name, p in points.items()}
    return boxes_px, {name: frame_labels.map_keypoints(p, names, skeleton) for name, p in points.items()}
