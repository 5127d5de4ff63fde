"""Graphs over the joints of one person in several views, and over the parts of the body."""

import functools

import numpy as np

from mcss_tf.geometry.skeleton import Skeleton

LEVELS = ("joints", "parts", "body")
KERNELS = ("self", "physical", "second", "symmetric", "cross_view")


@functools.lru_cache(maxsize=32)
def body_parts(skeleton: Skeleton) -> tuple[tuple[int, ...], ...]:
    """Splits a skeleton into the torso and its limbs.

    A limb is a connected set of two or more joints that have a partner on the other side; all else is the
    torso. Human3.6M-17 gives the torso, two legs and two arms; a skeleton whose names have no sides, only
    the torso.

    Returns:
        Joint indices by part, ascending; parts by their first joint. Together they are all joints, once.
    """
    is_paired = [partner != joint for joint, partner in enumerate(skeleton.mirror)]
    limb_of: dict[int, int] = {}
    for joint in _from_root(skeleton):
        parent = skeleton.parents[joint]
        # A joint goes with its parent where both are of one side: the top of a limb starts a new one.
        if is_paired[joint]:
            limb_of[joint] = limb_of.get(parent, joint) if parent >= 0 else joint
    limbs = [[j for j, top in limb_of.items() if top == t] for t in sorted(set(limb_of.values()))]
    limbs = [sorted(limb) for limb in limbs if len(limb) > 1]
    torso = sorted(set(range(skeleton.num_joints)) - {joint for limb in limbs for joint in limb})
    return tuple(tuple(part) for part in sorted([part for part in [torso, *limbs] if part]))


def kernels(skeleton: Skeleton, level: str, num_views: int) -> dict[str, np.ndarray]:
    """Returns the normalised adjacency D^-1/2 A D^-1/2 of every kernel that has an edge.

    self: the node; physical: along a bone; second: two bones away; symmetric: left and right; cross_view: the
    same node in every other view. A node without a neighbour in a kernel has a row of zeros.

    Args:
        skeleton: whose joints are the nodes, or whose parts.
        level: "joints", "parts", or "body" with one node a view.
        num_views: V; nodes of a view are consecutive.

    Returns:
        By name float32 [V n, V n].

    Hua et al. 2021, section 3.3.
    """
    physical, symmetric = _adjacency(skeleton, level)
    num_nodes = len(physical)
    two_steps = (physical @ physical > 0) & ~np.eye(num_nodes, dtype=bool) & ~(physical > 0)
    within = {"self": np.eye(num_nodes), "physical": physical, "second": two_steps, "symmetric": symmetric}
    matrices = {name: np.kron(np.eye(num_views), matrix) for name, matrix in within.items()}
    matrices["cross_view"] = np.kron(1 - np.eye(num_views), np.eye(num_nodes))
    return {name: _normalised(matrix) for name, matrix in matrices.items() if matrix.any()}


def _from_root(skeleton: Skeleton) -> list[int]:
    """Returns the joints so that every parent comes before its children."""

    def depth(joint: int) -> int:
        return 0 if skeleton.parents[joint] < 0 else 1 + depth(skeleton.parents[joint])

    return sorted(range(skeleton.num_joints), key=depth)


def _adjacency(skeleton: Skeleton, level: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns who touches whom, and who mirrors whom, among the nodes of one view."""
    if level == "body":
        return np.zeros((1, 1)), np.zeros((1, 1))
    num_joints = skeleton.num_joints
    groups = tuple((j,) for j in range(num_joints)) if level == "joints" else body_parts(skeleton)
    node_of = {joint: node for node, joints in enumerate(groups) for joint in joints}
    physical, symmetric = np.zeros((len(groups), len(groups))), np.zeros((len(groups), len(groups)))
    for parent, child in skeleton.edges:
        physical[node_of[parent], node_of[child]] = physical[node_of[child], node_of[parent]] = 1
    for joint, partner in enumerate(skeleton.mirror):
        symmetric[node_of[joint], node_of[partner]] = 1
    np.fill_diagonal(physical, 0)
    np.fill_diagonal(symmetric, 0)
    return physical, symmetric


def _normalised(adjacency: np.ndarray) -> np.ndarray:
    degree = adjacency.sum(1)
    scale = np.where(degree > 0, 1 / np.sqrt(np.maximum(degree, 1)), 0.0)
    return (scale[:, None] * adjacency * scale).astype(np.float32)
