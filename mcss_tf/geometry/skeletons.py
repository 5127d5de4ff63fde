"""The skeletons that come with the package, by name, and a user's own from a TOML file."""

import itertools
import tomllib
from pathlib import Path

from mcss_tf.errors import InputError
from mcss_tf.geometry import joint_names
from mcss_tf.geometry.skeleton import HUMAN36M_17, Skeleton

__all__ = ["SKELETONS", "find_skeleton", "read_skeleton"]


def _by_parent(name: str, joints: tuple[str, ...], parents: dict[str, str]) -> Skeleton:
    """Builds a skeleton from the name of each joint's parent; the joint without one is the root."""
    return Skeleton(name, joints, tuple(joints.index(parents[j]) if j in parents else -1 for j in joints))


def _chains(*chains: str) -> dict[str, str]:
    """Turns `pelvis spine thorax` into {"spine": "pelvis", "thorax": "spine"}."""
    links = [chain.split() for chain in chains]
    return {child: parent for names in links for parent, child in itertools.pairwise(names)}


_MPI_LIMBS = (
    "neck_base left_clavicle left_shoulder left_elbow left_wrist left_hand",
    "neck_base right_clavicle right_shoulder right_elbow right_wrist right_hand",
    "pelvis left_hip left_knee left_ankle left_foot left_toe",
    "pelvis right_hip right_knee right_ankle right_foot right_toe",
)
MPI_INF_3DHP_28 = _by_parent(
    "mpi_inf_3dhp_28",
    joint_names.MPI_INF_3DHP_28,
    _chains("pelvis spine spine2 spine3 spine4 neck_base mid_head head_top", *_MPI_LIMBS),
)
MPI_INF_3DHP_17 = _by_parent(
    "mpi_inf_3dhp_17",
    joint_names.MPI_INF_3DHP_17,
    _chains(
        "pelvis spine neck_base mid_head head_top",
        "neck_base left_shoulder left_elbow left_wrist",
        "neck_base right_shoulder right_elbow right_wrist",
        "pelvis left_hip left_knee left_ankle",
        "pelvis right_hip right_knee right_ankle",
    ),
)
COCO_19 = _by_parent(
    "coco_19",
    joint_names.COCO_19,
    _chains(
        "BodyCenter Neck Nose",
        *(f"Neck {side}Shoulder {side}Elbow {side}Wrist" for side in "lr"),
        *(f"BodyCenter {side}Hip {side}Knee {side}Ankle" for side in "lr"),
        *(f"Nose {side}Eye {side}Ear" for side in "lr"),
    ),
)
BODY_25 = _by_parent(
    "body_25",
    joint_names.BODY_25,
    _chains(
        "MidHip Neck Nose",
        *(f"Neck {side}Shoulder {side}Elbow {side}Wrist" for side in "LR"),
        *(f"MidHip {side}Hip {side}Knee {side}Ankle {side}BigToe {side}SmallToe" for side in "LR"),
        *(f"{side}Ankle {side}Heel" for side in "LR"),
        *(f"Nose {side}Eye {side}Ear" for side in "LR"),
    ),
)

# COCO-17 and BODY_25B have no joint at the pelvis, which canonical poses stand on, so with these two a root
# is added that is derived from the hips.
COCO_17 = _by_parent(
    "coco_17",
    ("pelvis", *joint_names.COCO_17),
    _chains(
        "pelvis nose",
        *(f"nose {side}_eye {side}_ear" for side in ("left", "right")),
        *(f"nose {side}_shoulder {side}_elbow {side}_wrist" for side in ("left", "right")),
        *(f"pelvis {side}_hip {side}_knee {side}_ankle" for side in ("left", "right")),
    ),
)
BODY_25B = _by_parent(
    "body_25b",
    ("MidHip", *joint_names.BODY_25B),
    _chains(
        "MidHip UpperNeck HeadTop",
        "UpperNeck Nose",
        *(f"Nose {side}Eye {side}Ear" for side in "LR"),
        *(f"UpperNeck {side}Shoulder {side}Elbow {side}Wrist" for side in "LR"),
        *(f"MidHip {side}Hip {side}Knee {side}Ankle {side}BigToe {side}SmallToe" for side in "LR"),
        *(f"{side}Ankle {side}Heel" for side in "LR"),
    ),
)

SKELETONS = {
    skeleton.name: skeleton
    for skeleton in (HUMAN36M_17, MPI_INF_3DHP_17, MPI_INF_3DHP_28, COCO_17, COCO_19, BODY_25, BODY_25B)
}


def find_skeleton(name: str) -> Skeleton:
    """Returns the skeleton of that name, or the one that a TOML file describes.

    Raises:
        InputError: neither a known name nor a file, or the file is not a skeleton.
    """
    if name in SKELETONS:
        return SKELETONS[name]
    if not Path(name).is_file():
        raise InputError(
            f"--skeleton is one of {', '.join(SKELETONS)}, or a TOML file. Received: {name!r}. "
            "Correct the name or the path."
        )
    return read_skeleton(Path(name))


def read_skeleton(path: Path) -> Skeleton:
    """Reads a skeleton: `name = "..."`, and [joints] with `joint = "parent"`; the root has the parent "".

    The joints keep the order of the file, which becomes the order of every pose array.

    Raises:
        InputError: not TOML, a key is missing or unknown, a parent is no joint, no root or left hip.
    """
    try:
        content = tomllib.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"A skeleton must be valid TOML. Received: {path} ({error}). Correct it.") from error
    joints = content.get("joints")
    is_table = isinstance(joints, dict) and all(isinstance(parent, str) for parent in joints.values())
    if set(content) != {"name", "joints"} or not is_table or not isinstance(content["name"], str):
        raise InputError(
            'A skeleton has a `name` and a table [joints] of lines like `left_knee = "left_hip"`. '
            f"Received: {', '.join(content) or 'nothing'} in {path}. docs/datasets.md shows an example."
        )
    unknown = [parent for parent in joints.values() if parent and parent not in joints]
    if unknown:
        raise InputError(
            f"Parents are joints of the same skeleton: {', '.join(joints)}. Received: {unknown[0]!r} in "
            f"{path}. Correct the spelling or add that joint."
        )
    try:
        skeleton = _by_parent(content["name"], tuple(joints), {j: p for j, p in joints.items() if p})
        skeleton.left_hip, skeleton.mirror  # noqa: B018 - raise now, not after hours of preparing
    except InputError as error:
        raise InputError(f"{error} File: {path}.") from error
    return skeleton
