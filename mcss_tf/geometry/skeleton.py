"""Skeletons: named joints, their parents, and how foreign joint sets map onto them."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from mcss_tf.errors import InputError
from mcss_tf.geometry.joint_names import (
    ALIASES,
    BODY_25,
    BODY_25B,
    CMU_BVH_ALIASES,
    CMU_BVH_MARKS,
    CMU_BVH_RECIPES,
    COCO_17,
    RECIPES,
    normalise,
)

__all__ = ["BODY_25", "BODY_25B", "COCO_17", "HUMAN36M_17", "Skeleton", "map_joints"]


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """Named joints and the tree that connects them.

    Attributes:
        name: of the skeleton.
        joint_names: [J] distinct names, in the order of every pose array.
        parents: [J] index of each joint's parent; -1 marks the one root.

    Raises:
        InputError: names repeat, lengths differ, or the parents are not one tree.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "joint_names", tuple(str(name) for name in self.joint_names))
        object.__setattr__(self, "parents", tuple(int(parent) for parent in self.parents))
        if len(self.joint_names) != len(self.parents):
            raise InputError(
                "A skeleton needs one parent per joint. Received: "
                f"{len(self.joint_names)} joint_names and {len(self.parents)} parents. "
                "Give lists of one length."
            )
        repeated = sorted({name for name in self.joint_names if self.joint_names.count(name) > 1})
        if repeated:
            raise InputError(
                f"Joint names of a skeleton must differ. Received: {repeated} more than once. Rename them."
            )
        self._check_tree()

    def _check_tree(self) -> None:
        roots = [joint for joint, parent in enumerate(self.parents) if parent == -1]
        if len(roots) != 1:
            raise InputError(
                "A skeleton has exactly one root, the joint whose parent is -1. "
                f"Received: {len(roots)} roots in parents={list(self.parents)}. Mark one joint with -1."
            )
        for joint, parent in enumerate(self.parents):
            if parent >= self.num_joints or parent < -1:
                raise InputError(
                    f"Parents must be joint indices below {self.num_joints}, or -1. "
                    f"Received: {parent} for {self.joint_names[joint]!r}. Correct that index."
                )
        for joint in range(self.num_joints):
            above = joint
            for _ in range(self.num_joints):
                above = self.parents[above] if above != -1 else -1
            if above != -1:
                raise InputError(
                    "Parents of a skeleton must lead to the root without a cycle. "
                    f"Received: a cycle above {self.joint_names[joint]!r}. Correct the parents."
                )

    @property
    def num_joints(self) -> int:
        """Number of joints, J."""
        return len(self.joint_names)

    @functools.cached_property
    def root(self) -> int:
        """Index of the joint without a parent."""
        return self.parents.index(-1)

    @functools.cached_property
    def non_root(self) -> tuple[int, ...]:
        """Indices of the J-1 joints that are predicted and measured, in skeleton order."""
        return tuple(joint for joint in range(self.num_joints) if joint != self.root)

    @functools.cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(parent, child) index pairs, one per non-root joint."""
        return tuple((self.parents[joint], joint) for joint in self.non_root)

    @functools.cached_property
    def mirror(self) -> tuple[int, ...]:
        """Permutation [J] that swaps left and right joints by name.

        Raises:
            InputError: a left joint has no right partner, or the other way round.
        """
        return tuple(self._partner(name) for name in self.joint_names)

    def _partner(self, name: str) -> int:
        other = _other_side(name)
        if other not in self.joint_names:
            raise InputError(
                "Mirroring needs a partner for every left and right joint. "
                f"Received: {name!r} without {other!r} in skeleton {self.name!r}. Add or rename a joint."
            )
        return self.joint_names.index(other)

    def side(self, joint: int) -> str:
        """Returns "left", "right" or "" of a joint, by its name."""
        name = self.joint_names[joint]
        if _other_side(name) == name:
            return ""
        lower = name.lower()
        is_left = "left" in lower or ("right" not in lower and lower[0] == "l")
        return "left" if is_left else "right"

    @functools.cached_property
    def left_hip(self) -> int:
        """Index of the left hip, which fixes the heading of a canonical pose.

        Raises:
            InputError: no joint is named like a left hip.
        """
        for joint, name in enumerate(self.joint_names):
            if normalise(name) in ALIASES["left_hip"]:
                return joint
        raise InputError(
            "A canonical pose needs a left hip. "
            f"Received: joint_names={list(self.joint_names)}. Name one joint 'left_hip'."
        )

    def index(self, name: str) -> int:
        """Returns the index of a joint.

        Raises:
            InputError: the skeleton has no such joint.
        """
        if name not in self.joint_names:
            raise InputError(
                f"Joints of skeleton {self.name!r} are {list(self.joint_names)}. "
                f"Received: {name!r}. Use one of these names."
            )
        return self.joint_names.index(name)

    def to_json(self) -> dict[str, Any]:
        """Returns the skeleton as it stands in `dataset.json`."""
        return {"name": self.name, "joint_names": list(self.joint_names), "parents": list(self.parents)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Skeleton":
        """Returns the skeleton that `to_json` described.

        Raises:
            InputError: a field is missing, or the skeleton is not valid.
        """
        missing = [key for key in ("name", "joint_names", "parents") if key not in value]
        if missing:
            raise InputError(
                "A skeleton is described by name, joint_names and parents. "
                f"Received: {sorted(value)} without {missing}. Add the missing fields."
            )
        return cls(value["name"], tuple(value["joint_names"]), tuple(value["parents"]))


def _other_side(name: str) -> str:
    """Swaps the side in a name: left/right anywhere, or a single L/R before a capital (`LHip`, `rShldr`)."""
    for here, there in (("left", "right"), ("Left", "Right")):
        if here in name:
            return name.replace(here, there)
        if there in name:
            return name.replace(there, here)
    if len(name) > 1 and name[0] in "lrLR" and name[1].isupper():
        return {"l": "r", "r": "l", "L": "R", "R": "L"}[name[0]] + name[1:]
    return name


HUMAN36M_17 = Skeleton(
    "human36m_17",
    (
        "pelvis",
        "right_hip",
        "right_knee",
        "right_ankle",
        "left_hip",
        "left_knee",
        "left_ankle",
        "spine",
        "thorax",
        "neck",
        "head",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
    ),
    (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
)


def map_joints(
    joints: np.ndarray, source_names: Sequence[str], skeleton: Skeleton, *, has_confidence: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Brings joints of another joint set onto a skeleton, by name; `joint_names` states what is derived.

    Args:
        joints: [..., K, D] positions in any unit; with `has_confidence` the last of the D values is the
            detector's confidence, and 0 means not seen (OpenPose).
        source_names: [K] names of the joints.
        skeleton: target of J joints.
        has_confidence: whether `joints` are keypoints with a confidence.

    Returns:
        joints [..., J, D] and mask [..., J] float32. A joint that the source lacks, or for which a needed
        joint is NaN or not seen, is 0 with mask 0. A derived confidence is the least of its parts'.

    Raises:
        InputError: K names were not given, or no joint of the skeleton is found by name.
    """
    joints = np.asarray(joints)
    if joints.ndim < 2 or joints.shape[-2] != len(source_names):
        raise InputError(
            "joints must be [..., num_joints, D] with one name per joint. "
            f"Received: shape {joints.shape} and {len(source_names)} names. Give the names of these joints."
        )
    weights = _mapping(tuple(source_names), skeleton)
    if not weights.any():
        raise InputError(
            f"No joint of skeleton {skeleton.name!r} is found among the given names. Received: "
            f"{list(source_names)}. Name joints like these: {list(skeleton.joint_names)}."
        )
    positions = joints[..., :-1] if has_confidence else joints
    observed = np.isfinite(joints).all(-1)
    if has_confidence:
        observed &= joints[..., -1] > 0
    used = weights != 0  # [J, K]
    mask = used.any(1) & ~((~observed[..., None, :]) & used).any(-1)
    mapped = np.einsum("jk,...kd->...jd", weights, np.where(observed[..., None], positions, 0.0))
    if has_confidence:
        confidence = np.where(used, joints[..., None, :, -1], np.inf).min(-1)
        mapped = np.concatenate([mapped, confidence[..., None]], axis=-1)
    mapped = np.where(mask[..., None], mapped, 0.0).astype(np.result_type(joints.dtype, np.float32))
    return mapped, mask.astype(np.float32)


@functools.lru_cache(maxsize=64)
def _mapping(source_names: tuple[str, ...], skeleton: Skeleton) -> np.ndarray:
    """Returns weights [J, K] such that target = weights @ source; a row of zeros is a missing joint."""
    weights = np.zeros((skeleton.num_joints, len(source_names)))
    # A source that has every joint of the skeleton under its own name is only re-ordered.
    if set(skeleton.joint_names) <= set(source_names):
        for row, name in enumerate(skeleton.joint_names):
            weights[row, source_names.index(name)] = 1.0
        return weights
    normalised = [normalise(name) for name in source_names]
    is_cmu = set(normalised) >= CMU_BVH_MARKS
    aliases = ALIASES | (CMU_BVH_ALIASES if is_cmu else {})
    recipes = RECIPES | (CMU_BVH_RECIPES if is_cmu else {})
    known = {alias: name for name, names in ALIASES.items() for alias in names}
    measured = {}
    for name, names in aliases.items():
        column = next((normalised.index(alias) for alias in names if alias in normalised), None)
        if column is not None:
            measured[name] = np.eye(len(source_names))[column]
    for row, name in enumerate(skeleton.joint_names):
        wanted = name if name in aliases else known.get(normalise(name), name)
        if wanted not in aliases and normalise(name) in normalised:
            weights[row, normalised.index(normalise(name))] = 1.0
            continue
        found = _resolve(wanted, measured, recipes)
        if found is not None:
            weights[row] = found
    return weights


def _resolve(
    name: str, measured: dict[str, np.ndarray], recipes: dict[str, tuple[dict[str, float], ...]]
) -> np.ndarray | None:
    """Returns the weights [K] of one joint over the source, or None where the source cannot give it."""
    for recipe in recipes.get(name, ({name: 1.0},)):
        parts = [measured.get(part) if part == name else _resolve(part, measured, recipes) for part in recipe]
        if all(part is not None for part in parts):
            return sum(weight * part for weight, part in zip(recipe.values(), parts, strict=True))
    return None
