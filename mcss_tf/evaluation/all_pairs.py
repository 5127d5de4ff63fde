"""PA-MPJPE of one pose against very many: closed form, no SVD per pair.

A retrieval oracle compares every query with every database image: 2,000 x 8,000 pairs are 16 million
Procrustes problems. With B = sum_j (t_j - t_mean)(p_j - p_mean)^T, divided by |p||t|, the best rotation of p
onto t is Markley's (FOAM, J. Astronautical Sciences 41, 1993):

    lambda = the largest root of (l^2 - |B|^2)^2 - 8 l det B - 4 |adj B|^2,   kappa = (lambda^2 - |B|^2) / 2
    R = [(kappa + |B|^2) B + lambda adj(B)^T - B B^T B] / (kappa lambda - det B),   scale = lambda |t| / |p|

lambda is s_1 + s_2 +- s_3 of B's singular values, so the scale is Umeyama's. The divisor is
(s_1 + s_2)(s_2 +- s_3)(s_3 +- s_1): where it vanishes the rotation is not unique and the SVD decides.
"""

import numpy as np

from mcss_tf.evaluation.pose import pa_mpjpe

# The divisor is at most 8/27; below this it has lost half of float64's digits.
_DEGENERATE = 1e-7
_BLOCK = 4096  # database poses at a time: the working set stays in the cache


class PoseDatabase:
    """Poses arranged for `distances`.

    Args:
        poses_mm: [N, J, 3] mm.
        mask: [N, J], 1 where a joint was observed.
    """

    def __init__(self, poses_mm: np.ndarray, mask: np.ndarray):
        self._mask = np.asarray(mask, np.float64)
        self._poses = np.where(self._mask[..., None] > 0, poses_mm, 0.0).astype(np.float64)
        self._by_axis = np.moveaxis(self._poses, -1, 0).astype(np.float32).copy()  # [3, N, J]
        self._transposed = np.swapaxes(self._poses, 1, 2).copy()  # [N, 3, J]
        self._squares = (self._poses**2).sum(-1)

    def __len__(self) -> int:
        return len(self._poses)

    def distances(self, pose_mm: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns the PA-MPJPE [N] in mm of one pose [J, 3] aligned to every pose of the database.

        Joints count that both observed; inf where there is none.
        """
        pose = np.where(np.asarray(mask)[:, None] > 0, pose_mm, 0.0).astype(np.float64)
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(self), _BLOCK)]
        return np.concatenate([self._block(pose, np.asarray(mask, np.float64), block) for block in blocks])

    def _block(self, pose: np.ndarray, mask: np.ndarray, block: slice) -> np.ndarray:
        targets, shared = self._transposed[block], self._mask[block]
        count = shared @ mask
        safe = np.maximum(count, 1.0)
        mean_pose = (shared @ pose) / safe[:, None]  # `pose` is 0 where its own mask is
        mean_target = (targets @ mask) / safe[:, None]
        spread_pose = shared @ (pose**2).sum(-1) - safe * (mean_pose**2).sum(-1)
        spread_target = self._squares[block] @ mask - safe * (mean_target**2).sum(-1)
        product = np.sqrt(np.maximum(spread_pose * spread_target, 0.0))
        covariance = targets @ pose - safe[:, None, None] * mean_target[:, :, None] * mean_pose[:, None, :]
        is_spread = product > 1e-9 * (1.0 + mask @ (pose**2).sum(-1))
        rotation, trace, divisor = _rotations(covariance / np.where(is_spread, product, 1.0)[:, None, None])
        is_regular = is_spread & (divisor > _DEGENERATE)
        scale = trace * np.sqrt(np.maximum(spread_target, 0.0) / np.where(is_spread, spread_pose, 1.0))
        similarity = rotation * (scale / np.where(is_regular, divisor, 1.0))[:, None, None]
        offset = mean_target - (similarity @ mean_pose[:, :, None])[..., 0]
        # x' = [similarity | offset] [p; 1], one product per axis.
        maps = np.concatenate([similarity, offset[..., None]], axis=-1).astype(np.float32)
        points = np.concatenate([pose, np.ones((len(pose), 1))], axis=-1).T.astype(np.float32)
        squared = sum((maps[:, axis] @ points - self._by_axis[axis, block]) ** 2 for axis in range(3))
        weights = shared.astype(np.float32) * mask.astype(np.float32)
        error = (np.sqrt(squared) * weights).sum(-1).astype(np.float64) / safe
        unusual = np.flatnonzero(~is_regular & (count > 0))
        if len(unusual):
            rows = self._poses[block][unusual]
            error[unusual] = pa_mpjpe(np.broadcast_to(pose, rows.shape), rows, shared[unusual] * mask)
        return np.where(count > 0, error, np.inf)


def _rotations(b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the unnormalised best rotations [N, 3, 3], lambda [N] and the divisor [N] of B [N, 3, 3]."""
    rows = b[:, 0], b[:, 1], b[:, 2]
    # The cofactor matrix adj(B)^T has the cross products of B's rows as rows.
    cofactors = np.stack(
        [_cross(rows[1], rows[2]), _cross(rows[2], rows[0]), _cross(rows[0], rows[1])], axis=1
    )
    determinant = (rows[0] * cofactors[:, 0]).sum(-1)
    square = (b * b).sum((1, 2))
    root = _largest_root(square, determinant, (cofactors * cofactors).sum((1, 2)))
    kappa = 0.5 * (root * root - square)
    cubic = b @ (np.swapaxes(b, 1, 2) @ b)
    rotation = (kappa + square)[:, None, None] * b + root[:, None, None] * cofactors - cubic
    return rotation, root, kappa * root - determinant


def _largest_root(square: np.ndarray, determinant: np.ndarray, cofactor_square: np.ndarray) -> np.ndarray:
    """Newton's method from above, where the quartic is convex and rises; the largest root is at most 1."""
    root = np.minimum(1.0, np.sqrt(3.0 * square))
    for _ in range(40):
        excess = root * root - square
        value = excess * excess - 8.0 * root * determinant - 4.0 * cofactor_square
        slope = 4.0 * root * excess - 8.0 * determinant
        step = np.where(slope > 0, value / np.where(slope > 0, slope, 1.0), 0.0)
        root = root - step
        if np.abs(step).max(initial=0.0) < 1e-13:
            break
    return root


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """`np.cross` of [N, 3], which is several times slower."""
    return a[:, [1, 2, 0]] * b[:, [2, 0, 1]] - a[:, [2, 0, 1]] * b[:, [1, 2, 0]]
