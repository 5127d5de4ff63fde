"""Joint positions as BVH motion: a skeleton of fixed bone lengths and one rotation per joint and frame."""

import dataclasses

import numpy as np
from scipy.spatial.transform import Rotation

from mcss_tf.geometry.skeleton import Skeleton

# Our world is Z up in millimetres; BVH viewers expect Y up, and motion libraries use centimetres.
_TO_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_CM_PER_MM = 0.1
_EULER_ORDER = "ZXY"


@dataclasses.dataclass(frozen=True)
class Motion:
    """A skeleton's rest pose and its motion.

    Attributes:
        offsets: [J, 3] of each joint from its parent in the rest pose, mm; zero for the root.
        rotations: [F, J, 3, 3] of each joint relative to its parent; the identity for leaves.
        root: [F, 3] position of the root, mm.
    """

    offsets: np.ndarray
    rotations: np.ndarray
    root: np.ndarray


def fit_motion(joints_mm: np.ndarray, skeleton: Skeleton) -> Motion:
    """Finds the rotations that turn a rest skeleton into the given poses.

    Bone lengths are the means over all frames; bone directions at rest are those of the frame nearest to the
    mean pose. With global rotations G, G_j turns the rest offsets of j's children onto the observed
    directions: exactly for one child (the smallest turn from the parent's orientation), in the least-squares
    sense for several [Kabsch, 1976], because a hip line and a spine turn as one body in BVH.

    Args:
        joints_mm: [F, J, 3] positions, at least one frame.
        skeleton: of the J joints.

    Returns:
        The motion. `forward_kinematics` of it gives `joints_mm` back where bones keep their length and the
        children of one joint keep their angles; a bone of length zero keeps its parent's orientation.
    """
    joints_mm = np.asarray(joints_mm, np.float64)
    bones = np.zeros_like(joints_mm)
    for parent, joint in skeleton.edges:
        bones[:, joint] = joints_mm[:, joint] - joints_mm[:, parent]
    lengths = np.linalg.norm(bones, axis=-1)
    directions = bones / np.maximum(lengths, 1e-9)[..., None]
    nearest = np.argmin(np.square(joints_mm - joints_mm.mean(axis=0)).sum(axis=(1, 2)))
    offsets = directions[nearest] * lengths.mean(axis=0)[:, None]
    global_rotations = np.broadcast_to(np.eye(3), (*joints_mm.shape, 3)).copy()
    for joint in _from_root(skeleton):
        children = [child for parent, child in skeleton.edges if parent == joint]
        above = skeleton.parents[joint]
        inherited = global_rotations[:, above] if above >= 0 else global_rotations[:, joint]
        if len(children) == 1:
            at_rest = np.einsum("fab,b->fa", inherited, directions[nearest, children[0]])
            turn = _smallest_turn(at_rest, directions[:, children[0]])
            global_rotations[:, joint] = turn @ inherited
        elif children:
            global_rotations[:, joint] = _kabsch(offsets[children], directions[:, children])
        else:
            global_rotations[:, joint] = inherited
    parents = [max(parent, 0) for parent in skeleton.parents]
    rotations = np.swapaxes(global_rotations[:, parents], -1, -2) @ global_rotations
    rotations[:, skeleton.root] = global_rotations[:, skeleton.root]
    return Motion(offsets, rotations, joints_mm[:, skeleton.root])


def forward_kinematics(motion: Motion, skeleton: Skeleton) -> np.ndarray:
    """Returns the joint positions [F, J, 3] in mm that a motion describes."""
    positions = np.zeros(motion.rotations.shape[:3])
    global_rotations = np.zeros_like(motion.rotations)
    for joint in _from_root(skeleton):
        parent = skeleton.parents[joint]
        if parent < 0:
            positions[:, joint] = motion.root
            global_rotations[:, joint] = motion.rotations[:, joint]
        else:
            positions[:, joint] = positions[:, parent] + global_rotations[:, parent] @ motion.offsets[joint]
            global_rotations[:, joint] = global_rotations[:, parent] @ motion.rotations[:, joint]
    return positions


def to_bvh(motion: Motion, skeleton: Skeleton, fps: float) -> str:
    """Returns a motion as the text of a BVH file: centimetres, Y up, rotations in the order Z, X, Y."""
    lines = ["HIERARCHY"]
    order: list[int] = []
    offsets_cm = motion.offsets @ _TO_Y_UP.T * _CM_PER_MM

    def add(joint: int, depth: int) -> None:
        indent = "\t" * depth
        is_root = joint == skeleton.root
        order.append(joint)
        lines.append(f"{indent}{'ROOT' if is_root else 'JOINT'} {skeleton.joint_names[joint]}")
        lines.append(f"{indent}{{")
        lines.append(f"{indent}\tOFFSET " + " ".join(f"{value:.6f}" for value in offsets_cm[joint]))
        position = "6 Xposition Yposition Zposition" if is_root else "3"
        lines.append(f"{indent}\tCHANNELS {position} Zrotation Xrotation Yrotation")
        children = [child for parent, child in skeleton.edges if parent == joint]
        for child in children:
            add(child, depth + 1)
        if not children:
            lines.extend(
                [f"{indent}\tEnd Site", f"{indent}\t{{", f"{indent}\t\tOFFSET 0 0 0", f"{indent}\t}}"]
            )
        lines.append(f"{indent}}}")

    add(skeleton.root, 0)
    values = _channels(motion, order)
    lines += ["MOTION", f"Frames: {len(values)}", f"Frame Time: {1 / fps:.8f}"]
    lines += [" ".join(f"{value:.6f}" for value in row) for row in values]
    return "\n".join(lines) + "\n"


def _channels(motion: Motion, order: list[int]) -> np.ndarray:
    """Returns root position in cm and Euler angles in degrees [F, 3 + 3 J], in the order of the hierarchy."""
    # A change of axes C turns a rotation R into C R C^T.
    turned = _TO_Y_UP @ motion.rotations[:, order] @ _TO_Y_UP.T
    num_frames, num_joints = turned.shape[:2]
    angles = Rotation.from_matrix(turned.reshape(-1, 3, 3)).as_euler(_EULER_ORDER, degrees=True)
    root_cm = motion.root @ _TO_Y_UP.T * _CM_PER_MM
    return np.concatenate([root_cm, angles.reshape(num_frames, 3 * num_joints)], axis=1)


def _from_root(skeleton: Skeleton) -> list[int]:
    """Returns joint indices so that every parent comes before its children."""
    order = [skeleton.root]
    for joint in order:
        order.extend(child for parent, child in skeleton.edges if parent == joint)
    return order


def _smallest_turn(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Returns the rotations [F, 3, 3] of least angle that take unit vectors `start` [F, 3] to `end`.

    Opposite vectors turn about any perpendicular axis; a zero vector gives the identity.
    """
    cosine = np.einsum("fa,fa->f", start, end)
    # The quaternion (start x end, 1 + cos) is twice cos(angle / 2) times the one we want.
    axis, real = np.cross(start, end), 1 + cosine
    opposite = (real < 1e-9) & (np.linalg.norm(start, axis=1) > 0.5)
    smallest = np.eye(3)[np.argmin(np.abs(start), axis=1)]
    axis[opposite], real[opposite] = np.cross(start, smallest)[opposite], 0.0
    return Rotation.from_quat(np.concatenate([axis, real[:, None]], axis=1)).as_matrix()


def _kabsch(offsets: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Returns the rotations [F, 3, 3] that best turn offsets [C, 3] onto unit directions [F, C, 3].

    Weights are the offsets' lengths. If all lie on one line, the turn about it is undetermined and one is
    chosen.
    """
    covariance = np.einsum("ca,fcb->fab", offsets, directions)
    u, _, vt = np.linalg.svd(covariance)
    sign = np.linalg.det(u @ vt)
    u[:, :, 2] *= sign[:, None]
    return np.swapaxes(u @ vt, -1, -2)
