"""Films the studio: a small recordings folder, as a user's cameras would leave it."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mcss_tf.geometry.cameras import save_calibration
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.studio.body import make_body
from mcss_tf.studio.figure import NUM_JOINTS, place, pose_points
from mcss_tf.studio.motion import STAGE_RADIUS
from mcss_tf.studio.performer import perform
from mcss_tf.studio.render import Renderer
from mcss_tf.studio.room import make_cameras, make_room


def write_recordings(
    root: str | Path,
    *,
    subjects: Sequence[str] = ("S1", "S2"),
    actions: Sequence[str] = ("walking", "waving"),
    num_frames: int = 90,
    fps: int = 30,
    num_cameras: int = 3,
    frame_size: tuple[int, int] = (320, 240),
    seed: int = 0,
) -> None:
    """Films every subject doing every action, with labels and calibration.

    Writes `<root>/<subject>/<action>/<camera>.mp4` with `poses.npz` beside them, and `<root>/cameras.toml`.

    Args:
        root: Folder to make.
        subjects: Names of the people.
        actions: Keys of `actions.ACTIONS`; one sequence each.
        num_frames: Frames per video.
        fps: Frames per second.
        num_cameras: Cameras around the stage.
        frame_size: Even width and height of the videos in pixels.
        seed: Of everything.
    """
    root = Path(root)
    cameras = make_cameras(seed, num_cameras, frame_size)
    renderer = Renderer(make_room(seed), cameras, crop_size=64, seed=seed)
    for subject in subjects:
        body = make_body(subject, seed)
        for action in actions:
            rng = np.random.default_rng([seed, 11, *subject.encode(), *action.encode()])
            clip = place(perform(action, num_frames / fps, fps, rng), 0.0, STAGE_RADIUS)
            points_mm = pose_points(clip, body.lengths_mm)
            folder = root / subject / action
            folder.mkdir(parents=True, exist_ok=True)
            for name in cameras:
                frames = (renderer.frame(name, body, p, (index,)) for index, p in enumerate(points_mm))
                _write_video(folder / f"{name}.mp4", frames, fps, frame_size)
            np.savez(
                folder / "poses.npz",
                joints_mm=points_mm[:, :NUM_JOINTS].astype(np.float32),
                frames=np.arange(num_frames),
                joint_names=np.array(HUMAN36M_17.joint_names),
                up_axis="z",
            )
    save_calibration(root / "cameras.toml", cameras)


def _write_video(path: Path, frames: Iterable[np.ndarray], fps: int, size: tuple[int, int]) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
