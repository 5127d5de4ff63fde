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
    """Poses arranged for `distances`: the number of poses is the last axis of every array.

    Args:
        poses_mm: [N, J, 3] mm.
        mask: [N, J], 1 where a joint was observed.
    """

    def __init__(self, poses_mm: np.ndarray, mask: np.ndarray):
        observed = np.asarray(mask)[..., None] > 0
        self._poses = np.where(observed, poses_mm, 0.0).astype(np.float64)  # [N, J, 3]
        self._mask = np.asarray(mask, np.float64).T.copy()  # [J, N]
        self._targets = self._poses.transpose(2, 1, 0).copy()  # [3, J, N]
        self._targets32 = self._targets.astype(np.float32)
        self._squares = (self._targets**2).sum(0)  # [J, N]

    def __len__(self) -> int:
        return len(self._poses)

    def distances(self, pose_mm: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns the PA-MPJPE [N] in mm of one pose [J, 3] aligned to every pose of the database.

        Joints count that both observed; inf where there is none.
        """
        mask = np.asarray(mask, np.float64)
        pose = np.where(mask[:, None] > 0, pose_mm, 0.0).astype(np.float64)
        blocks = [slice(start, start + _BLOCK) for start in range(0, len(self), _BLOCK)]
        return np.concatenate([self._block(pose, mask, block) for block in blocks])

    def _block(self, pose: np.ndarray, mask: np.ndarray, block: slice) -> np.ndarray:
        targets, shared = self._targets[..., block], self._mask[:, block]
        count = mask @ shared
        safe = np.maximum(count, 1.0)
        mean_pose = (pose.T @ shared) / safe  # [3, N]; `pose` is 0 where its own mask is
        mean_target = (mask @ targets) / safe
        squares = (pose**2).sum(-1)
        spread_pose = np.maximum(squares @ shared - safe * (mean_pose**2).sum(0), 0.0)
        spread_target = np.maximum(mask @ self._squares[:, block] - safe * (mean_target**2).sum(0), 0.0)
        product = np.sqrt(spread_pose * spread_target)
        is_spread = product > 1e-9 * (1.0 + squares.sum())
        # [3, 3, N], rows of the target's axes.
        covariance = pose.T @ targets - safe * mean_target[:, None] * mean_pose[None]
        rotation, trace, divisor = _rotations(covariance / np.where(is_spread, product, 1.0))
        is_regular = is_spread & (divisor > _DEGENERATE)
        scale = trace * np.sqrt(spread_target / np.where(is_spread, spread_pose, 1.0))
        similarity = rotation * (scale / np.where(is_regular, divisor, 1.0))
        offset = mean_target - (similarity * mean_pose[None]).sum(1)
        error = self._mean_distance(pose, mask, similarity, offset, block) / safe
        unusual = np.flatnonzero(~is_regular & (count > 0))
        if len(unusual):
            rows = self._poses[block][unusual]
            weights = shared[:, unusual].T * mask
            error[unusual] = pa_mpjpe(np.broadcast_to(pose, rows.shape), rows, weights)
        return np.where(count > 0, error, np.inf)

    def _mean_distance(
        self, pose: np.ndarray, mask: np.ndarray, similarity: np.ndarray, offset: np.ndarray, block: slice
    ) -> np.ndarray:
        """Returns sum_j |similarity p_j + offset - t_j| [N] over the joints that both observed."""
        maps = np.concatenate([similarity, offset[:, None]], axis=1).astype(np.float32)  # [3, 4, N]
        points = np.concatenate([pose, np.ones((len(pose), 1))], axis=1).astype(np.float32)  # [J, 4]
        difference = points @ maps - self._targets32[..., block]
        difference *= difference
        distance = np.sqrt(difference[0] + difference[1] + difference[2])
        return mask @ (distance * self._mask[:, block])


def _rotations(b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the unnormalised best rotations [3, 3, N], lambda [N] and the divisor [N] of B [3, 3, N]."""
    # The cofactor matrix adj(B)^T has the cross products of B's rows as rows.
    cofactors = np.stack([_cross(b[1], b[2]), _cross(b[2], b[0]), _cross(b[0], b[1])])
    determinant = (b[0] * cofactors[0]).sum(0)
    square = (b * b).sum((0, 1))
    root = _largest_root(square, determinant, (cofactors * cofactors).sum((0, 1)))
    kappa = 0.5 * (root * root - square)
    gram = sum(b[:, None, axis] * b[None, :, axis] for axis in range(3))  # B B^T
    cubic = sum(gram[:, axis, None] * b[None, axis] for axis in range(3))
    return (kappa + square) * b + root * cofactors - cubic, root, kappa * root - determinant


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
    """Returns the cross products [3, N] of the columns of two [3, N]."""
    return a[[1, 2, 0]] * b[[2, 0, 1]] - a[[2, 0, 1]] * b[[1, 2, 0]]
