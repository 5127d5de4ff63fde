"""Downloads of Human3.6M, MPI-INF-3DHP and CMU Panoptic in small, in the file formats that they ship.

A stick figure walks and turns; videos show its joints as bright dots where the calibration puts them.
"""

import dataclasses
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import av
import cv2
import h5py
import numpy as np
import scipy.io
from cdflib.cdfwrite import CDF
from scipy.spatial.transform import Rotation

from mcss_tf.geometry.cameras import Camera, look_at, project, world_to_camera
from mcss_tf.geometry.canonical import from_z_up
from mcss_tf.geometry.joint_names import COCO_19, HUMAN36M_32, MPI_INF_3DHP_17, MPI_INF_3DHP_28
from mcss_tf.geometry.skeleton import HUMAN36M_17
from tests.helpers import STANDING_MM

NUM_FRAMES = 16
H36M_CAMERAS = ("54138969", "55011271", "58860488", "60457274")
# Where joints lie that Human3.6M-17 does not have, as weights of those that it has.
_EXTRA = {
    "neck_base": {"thorax": 1.0},
    "mid_head": {"neck": 1.0},
    "head_top": {"head": 1.0},
    "Nose": {"neck": 1.0},
    "Neck": {"thorax": 1.0},
    "BodyCenter": {"pelvis": 1.0},
}


def poses_mm(num_frames: int = NUM_FRAMES, seed: int = 0) -> np.ndarray:
    """Returns a walking, turning figure [F, 17, 3], world, Z up, with knees that bend forward."""
    rng = np.random.default_rng(seed)
    time = np.arange(num_frames) / num_frames
    poses = np.repeat(STANDING_MM[None].astype(float), num_frames, 0)
    for knee, ankle, phase in ((2, 3, 0.0), (5, 6, np.pi)):
        bend = 150 * (1 + np.sin(2 * np.pi * time + phase))
        poses[:, knee, 1] -= bend  # front is -y
        poses[:, ankle, 1] += 0.5 * bend
    poses[:, 13, 1] -= 200 * np.sin(2 * np.pi * time)
    turn = Rotation.from_rotvec((0.4 * time + rng.uniform(-1, 1))[:, None] * [0, 0, 1])
    poses = np.einsum("fij,fkj->fki", turn.as_matrix(), poses)
    return poses + np.stack([300 * time, 100 * time, np.full(num_frames, 900.0)], -1)[:, None]


def joints_named(names: Iterable[str], poses: np.ndarray) -> np.ndarray:
    """Returns joints [F, K, 3] of other names; those that the figure lacks lie near its pelvis."""
    own = {_plain(name): poses[:, joint] for joint, name in enumerate(HUMAN36M_17.joint_names)}
    joints = []
    for number, name in enumerate(names):
        plain = _plain(name)
        if name in _EXTRA:
            joints.append(sum(w * own[part] for part, w in _EXTRA[name].items()))
        elif plain in own:
            joints.append(own[plain])
        else:
            joints.append(own["pelvis"] + 10.0 * number)
    return np.stack(joints, 1)


def _plain(name: str) -> str:
    """`lShoulder` -> `left_shoulder`."""
    sides = {"l": "left_", "r": "right_"}
    is_short = len(name) > 1 and name[0] in sides and name[1].isupper()
    return sides[name[0]] + name[1:].lower() if is_short else name


def write_video(path: Path, camera: Camera, joints_mm: np.ndarray, fps: int, codec: str = "mpeg4") -> None:
    """Films joints [F, K, 3] as dots, at a quarter of the camera's size in each direction or as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = camera.size
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, bit_rate=2_000_000)
        stream.width, stream.height, stream.pix_fmt = width - width % 2, height - height % 2, "yuv420p"
        for joints in joints_mm:
            frame = av.VideoFrame.from_ndarray(picture(camera, joints), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def picture(camera: Camera, joints_mm: np.ndarray) -> np.ndarray:
    """Returns uint8 [H, W, 3]: white dots on dark blue."""
    width, height = camera.size
    pixels = np.full((height - height % 2, width - width % 2, 3), (20, 20, 60), np.uint8)
    for x, y in project(camera, joints_mm):
        if 0 <= x < width and 0 <= y < height:
            cv2.circle(pixels, (round(x), round(y)), max(2, width // 100), (255, 255, 255), -1)
    return pixels


def write_cdf(path: Path, pose: np.ndarray) -> None:
    """Writes `Pose` [1, F, K] as Human3.6M's CDF files hold it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    file = CDF(str(path), cdf_spec={"Encoding": 6, "Majority": "row_major"})
    spec = {"Variable": "Pose", "Data_Type": 21, "Num_Elements": 1, "Rec_Vary": True}
    file.write_var({**spec, "Dim_Sizes": list(pose.shape[1:])}, var_data=pose.astype(np.float32))
    file.close()


def write_masks(path: Path, boxes: list[tuple[int, int, int, int] | None], size: tuple[int, int]) -> None:
    """Writes ground_truth_bb: a MATLAB v7.3 cell array `Masks` of logical [height, width]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        cells = file.create_dataset("Masks", (len(boxes), 1), h5py.ref_dtype)
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        for number, box in enumerate(boxes):
            mask = np.zeros((size[1], size[0]), np.uint8)
            if box is not None:
                x0, y0, x1, y1 = box
                mask[y0:y1, x0:x1] = 1
            stored = file.create_dataset(f"#refs#/{number}", data=mask.T, compression="gzip")
            stored.attrs["MATLAB_class"] = np.bytes_("logical")
            cells[number, 0] = stored.ref
    header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + b"\0" * 8 + b"\x00\x02IM"
    with open(path, "r+b") as file:
        file.write(header)


def write_metadata(path: Path, cameras: dict[str, dict[str, Camera]]) -> None:
    """Writes metadata.xml with the vector <w0>: angles and centres of all subjects, then intrinsics."""
    extrinsics = np.zeros((4, 11, 6))
    intrinsics = np.zeros((4, 9))
    for c, name in enumerate(H36M_CAMERAS):
        for s in range(11):
            camera = cameras[f"S{s + 1}"][name]
            extrinsics[c, s, :3] = Rotation.from_matrix(camera.rotation).as_euler("XYZ")
            extrinsics[c, s, 3:] = camera.centre_mm
        k1, k2, p1, p2, k3 = camera.distortion
        matrix = camera.matrix
        intrinsics[c] = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], k1, k2, k3, p1, p2
    numbers = " ".join(repr(float(number)) for number in (*extrinsics.ravel(), *intrinsics.ravel()))
    path.write_text(f"<?xml version='1.0'?>\n<metadata>\n<w0>[{numbers}]</w0>\n</metadata>\n")


def human36m_cameras() -> dict[str, dict[str, Camera]]:
    """Returns four upright cameras for each of eleven subjects, like Human3.6M's in size and lens."""
    cameras: dict[str, dict[str, Camera]] = {}
    sizes = ((1000, 1002), (1000, 1000), (1000, 1000), (1000, 1002))
    lens = np.array([-0.2, 0.24, -0.0014, -0.001, -0.003])
    for s in range(11):
        cameras[f"S{s + 1}"] = {}
        for c, name in enumerate(H36M_CAMERAS):
            angle = np.pi / 4 + np.pi / 2 * c + 0.05 * s
            position = (4000 * np.cos(angle), 4000 * np.sin(angle), 1550.0)
            camera = look_at(name, sizes[c], 1145.0, position, (0, 0, 900))
            cameras[f"S{s + 1}"][name] = dataclasses.replace(camera, distortion=lens)
    return cameras


def write_human36m(
    root: Path,
    cameras: dict[str, dict[str, Camera]],
    sequences: Iterable[str] = ("S1/Directions 1", "S9/Greeting", "S11/Directions"),
    num_frames: int = NUM_FRAMES,
    metadata: bool = True,
) -> Path:
    """Writes extracted archives: videos, 3D and 2D positions, boxes, calibration."""
    root.mkdir(parents=True, exist_ok=True)
    if metadata:
        write_metadata(root / "metadata.xml", cameras)
    for number, name in enumerate(sequences):
        subject, sequence = name.split("/")
        joints = joints_named(HUMAN36M_32, poses_mm(num_frames, number))
        folder = root / subject
        write_cdf(folder / f"MyPoseFeatures/D3_Positions/{sequence}.cdf", joints.reshape(1, num_frames, 96))
        for camera_name in H36M_CAMERAS:
            camera = cameras[subject][camera_name]
            points = project(camera, joints)
            stem = f"{sequence}.{camera_name}"
            write_cdf(folder / f"MyPoseFeatures/D2_Positions/{stem}.cdf", points.reshape(1, num_frames, 64))
            write_masks(
                folder / f"MySegmentsMat/ground_truth_bb/{stem}.mat",
                [_box_around(p, camera.size) for p in points],
                camera.size,
            )
            if (subject, sequence, camera_name) != ("S11", "Directions", "54138969"):
                write_video(folder / f"Videos/{stem}.mp4", camera, joints, 50)
    return root


def _box_around(points: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    x0, y0 = np.maximum(points.min(0) - 40, 0).astype(int)
    x1, y1 = np.minimum(points.max(0) + 40, size).astype(int)
    return x0, y0, x1, y1


def dhp_cameras(size: int = 256) -> dict[int, Camera]:
    """Returns 14 upright cameras in a world with Y up; 0, 2, 4, 7, 8 surround the stage at chest height."""
    cameras = {}
    for number in range(14):
        angle = 2 * np.pi * number / 9
        height = 1200.0 if number in (0, 2, 4, 7, 8) else 3000.0
        position = (4000 * np.cos(angle), 4000 * np.sin(angle), height)
        cameras[number] = look_at(str(number), (size, size), 0.75 * size, position, (0, 0, 900))
    return cameras


def in_y_up_world(camera: Camera) -> Camera:
    """Returns the camera in the same world with Y up."""
    rotation = camera.rotation @ from_z_up(np.eye(3), "y")
    return Camera(camera.name, camera.size, camera.matrix, camera.distortion, rotation, camera.translation_mm)


def write_3dhp(
    root: Path, sequences: Iterable[str] = ("S1/Seq1", "S7/Seq1"), num_frames: int = NUM_FRAMES
) -> Path:
    """Writes annot.mat, camera.calibration and the chest-height videos of some sequences."""
    for number, name in enumerate(sequences):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        cameras = dhp_cameras()
        joints = joints_named(MPI_INF_3DHP_28, poses_mm(num_frames, number))
        cells = {key: np.empty((14, 1), object) for key in ("annot2", "annot3", "univ_annot3")}
        lines = ["Skeletool Camera Calibration File V1.0"]
        for c, camera in cameras.items():
            seen = world_to_camera(camera, joints)
            cells["annot2"][c, 0] = project(camera, joints).reshape(num_frames, -1)
            cells["annot3"][c, 0] = seen.reshape(num_frames, -1)
            cells["univ_annot3"][c, 0] = 1.1 * seen.reshape(num_frames, -1)
            if c in (0, 2, 4, 7, 8):
                write_video(folder / "imageSequence" / f"video_{c}.avi", camera, joints, 25)
            lines += calibration_lines(in_y_up_world(camera))
        scipy.io.savemat(folder / "annot.mat", {**cells, "frames": np.arange(num_frames)})
        (folder / "camera.calibration").write_text("\n".join(lines) + "\n")
    return root


def calibration_lines(camera: Camera) -> list[str]:
    intrinsic, extrinsic = np.eye(4), np.eye(4)
    intrinsic[:3, :3] = camera.matrix
    extrinsic[:3, :3], extrinsic[:3, 3] = camera.rotation, camera.translation_mm
    return [
        f"name          {camera.name}",
        "  sensor      10 10",
        f"  size        {camera.size[0]} {camera.size[1]}",
        "  animated    0",
        f"  intrinsic   {_numbers(intrinsic)} ",
        f"  extrinsic   {_numbers(extrinsic)} ",
        "  radial      0",
    ]


def write_3dhp_test(root: Path, names: Iterable[str] = ("TS1", "TS5"), num_frames: int = NUM_FRAMES) -> Path:
    """Writes the official test set: images, annot_data.mat (v7.3) and the calibration of its cameras."""
    for number, name in enumerate(names):
        camera = dhp_cameras()[2]
        poses = poses_mm(num_frames, 10 + number)
        joints = joints_named(MPI_INF_3DHP_17, poses)
        folder = root / name
        (folder / "imageSequence").mkdir(parents=True)
        for frame in range(num_frames):
            pixels = picture(camera, joints[frame])[..., ::-1]
            cv2.imwrite(str(folder / "imageSequence" / f"img_{frame + 1:06d}.jpg"), pixels)
        seen = world_to_camera(camera, joints)
        with h5py.File(folder / "annot_data.mat", "w") as file:
            file["annot2"] = project(camera, joints)[:, None]
            file["annot3"] = seen[:, None]
            file["univ_annot3"] = 1.1 * seen[:, None]
            file["valid_frame"] = (np.arange(num_frames) % 5 > 0).astype(np.uint8)[:, None]
            file["activity_annotation"] = (1.0 + np.arange(num_frames) // 8)[:, None]
    folder = root / "test_util" / "camera_calibration"
    folder.mkdir(parents=True)
    for file_name in ("ts1-4cameras.calib", "ts5-6cameras.calib"):
        lines = ["Camera calibration"]
        for c in (0, 2):
            lines += test_calibration_lines(str(c), in_y_up_world(dhp_cameras()[c]), focal_mm=7.5 - c + 2)
        (folder / file_name).write_text("\n".join(lines) + "\n")
    return root


def test_calibration_lines(name: str, camera: Camera, focal_mm: float) -> list[str]:
    """A sensor of 10 mm; the camera's own focal length is 7.5 mm, its centre half a pixel off the middle."""
    offset = 10 * (camera.matrix[:2, 2] / camera.size - 0.5)
    right, down = camera.rotation[0], camera.rotation[1]
    return [
        f"camera          {name}",
        "sensorSize      10 10       # mm",
        f"focalLength     {focal_mm}     # mm",
        "pixelAspect     1.0",
        f"centerOffset    {_numbers(offset)}     # mm",
        "distortionModel OpenCV",
        "distortion      0.0 0.0 0.0 0.0 0.0",
        f"origin          {_numbers(camera.centre_mm)}",
        f"up              {_numbers(-down)}",
        f"right           {_numbers(right)}",
    ]


def _numbers(values: np.ndarray) -> str:
    return " ".join(repr(float(value)) for value in np.ravel(values))


def panoptic_cameras() -> dict[str, Camera]:
    """Returns three HD cameras around the stage, a quarter of the true size, world with Z up."""
    return {
        f"00_0{c}": look_at(
            f"00_0{c}",
            (480, 270),
            260.0,
            (3500 * np.cos(2 * c), 3500 * np.sin(2 * c), 1500.0),
            (0, 0, 900),
        )
        for c in range(3)
    }


def write_panoptic(
    root: Path, names: Iterable[str] = ("171204_pose1", "171204_pose2"), num_frames: int = 70
) -> Path:
    """Writes recordings: calibration (cm, Y down), tracked people, HD videos."""
    for number, name in enumerate(names):
        folder = root / name
        poses = folder / "hdPose3d_stage1_coco19"
        poses.mkdir(parents=True)
        joints = joints_named(COCO_19, poses_mm(num_frames, number))
        entries = []
        for camera in panoptic_cameras().values():
            write_video(folder / "hdVideos" / f"hd_{camera.name}.mp4", camera, joints, 30)
            turned = camera.rotation @ from_z_up(np.eye(3), "-y")
            entry = {"name": camera.name, "type": "hd", "resolution": list(camera.size)}
            entry |= {"K": camera.matrix.tolist(), "distCoef": [0.0] * 5, "R": turned.tolist()}
            entries.append(entry | {"t": (camera.translation_mm[:, None] / 10).tolist()})
        entries.append({"name": "01_01", "type": "vga"})
        (folder / f"calibration_{name}.json").write_text(json.dumps({"cameras": entries}))
        for frame, frame_joints in enumerate(from_z_up(joints, "-y") / 10):
            confidence = np.full((19, 1), 0.9)
            confidence[16] = -1.0 if frame % 3 == 0 else 0.9
            body = np.concatenate([frame_joints, confidence], 1)
            # Somebody walks through for a moment: too short to be a subject.
            bodies = [{"id": 4, "joints19": body.ravel().tolist()}]
            bodies += [{"id": 7, "joints19": body.ravel().tolist()}] if frame < 5 else []
            content = {"version": 0.7, "univTime": 0.0, "fpsType": "hd_29_97", "bodies": bodies}
            (poses / f"body3DScene_{frame:08d}.json").write_text(json.dumps(content))
    return root


def write_videopose3d(root: Path, num_frames: int = NUM_FRAMES) -> Path:
    """Writes data_3d_h36m.npz (32 joints, metres), data_2d_h36m_gt.npz (17 joints) and metadata.xml."""
    root.mkdir(parents=True)
    cameras = human36m_cameras()
    write_metadata(root / "metadata.xml", cameras)
    positions: dict[str, dict[str, np.ndarray]] = {}
    keypoints: dict[str, dict[str, list[np.ndarray]]] = {}
    for number, (subject, name) in enumerate((("S1", "Walking 1"), ("S9", "Photo"), ("S11", "Directions"))):
        poses = poses_mm(num_frames, number)
        joints = joints_named(HUMAN36M_32, poses)
        positions.setdefault(subject, {})[name] = (joints / 1000).astype(np.float32)
        views = [project(camera, poses).astype(np.float32) for camera in cameras[subject].values()]
        keypoints.setdefault(subject, {})[name] = views[1:] if subject == "S11" else views
    metadata = {"layout_name": "h36m", "num_joints": 17, "keypoints_symmetry": [[4, 5, 6], [1, 2, 3]]}
    np.savez_compressed(root / "data_3d_h36m.npz", positions_3d=np.array(positions, object))
    np.savez_compressed(
        root / "data_2d_h36m_gt.npz",
        positions_2d=np.array(keypoints, object),
        metadata=np.array(metadata, object),
    )
    return root


def cut(path: Path, share: float = 0.5) -> None:
    """Keeps the first part of a file, as an interrupted download does."""
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def copy_of(root: Path, to: Path) -> Path:
    """Copies a download so that a test may damage it."""
    shutil.copytree(root, to)
    return to
