"""What a 2D detector would report of exactly known joints: jitter, outliers, occlusion, confidence."""

import dataclasses

import numpy as np
from scipy.ndimage import gaussian_filter1d

from mcss_tf.errors import InputError
from mcss_tf.geometry.skeleton import Skeleton

# Relative jitter by what a joint's name holds: ends of limbs are found less exactly than the trunk.
_JITTER = {"wrist": 1.4, "ankle": 1.3, "elbow": 1.15, "knee": 1.1, "hip": 0.9, "pelvis": 0.8}
# The mean length of a two-dimensional Gaussian vector of standard deviation 1 per axis.
_MEAN_LENGTH = np.sqrt(np.pi / 2)


@dataclasses.dataclass(frozen=True)
class DetectorNoise:
    """A detector's errors; docs/keypoints.md says where the numbers come from.

    Attributes:
        mean_error_px: mean distance of a keypoint from the joint, over all joints, outliers and occlusions
            included. 0: exact keypoints of confidence 1.
        outlier_rate: fraction of visible joints found somewhere else, with a confidence like any other's.
        outlier_px: their standard deviation per axis.
        occlusion_rate: fraction of the time that a joint is hidden from a camera; its confidence is low.
        occlusion_px: standard deviation per axis of a hidden joint's guess.
        occlusion_s: about how long a joint stays hidden.

    Raises:
        InputError: outliers and occlusions alone exceed the mean error, or a rate is not one.
    """

    mean_error_px: float = 5.4
    outlier_rate: float = 0.01
    outlier_px: float = 40.0
    occlusion_rate: float = 0.05
    occlusion_px: float = 20.0
    occlusion_s: float = 0.3

    def __post_init__(self) -> None:
        if not (0 <= self.outlier_rate < 1 and 0 <= self.occlusion_rate < 1):
            raise InputError(
                "Rates of outliers and occlusions are fractions below 1. Received: "
                f"outlier_rate={self.outlier_rate}, occlusion_rate={self.occlusion_rate}. Lower them."
            )
        if self.mean_error_px and not self._jitter_px() > 0:
            raise InputError(
                "Outliers and occlusions may not alone exceed the mean error of the keypoints. Received: "
                f"mean_error_px={self.mean_error_px}, of which {self._gross_error_px():.2f} are theirs. "
                "Raise mean_error_px or lower their rates."
            )

    def _gross_error_px(self) -> float:
        hidden, wrong = self.occlusion_rate, (1 - self.occlusion_rate) * self.outlier_rate
        return _MEAN_LENGTH * (hidden * self.occlusion_px + wrong * self.outlier_px)

    def _jitter_px(self) -> float:
        """Returns the jitter per axis, averaged over joints, that makes the mean error what it should be."""
        usual = (1 - self.occlusion_rate) * (1 - self.outlier_rate)
        return (self.mean_error_px - self._gross_error_px()) / (usual * _MEAN_LENGTH)

    def detect(
        self,
        true_px: np.ndarray,
        is_inside: np.ndarray,
        fps: float,
        skeleton: Skeleton,
        seed: tuple[int, ...],
    ) -> np.ndarray:
        """Returns keypoints of one sequence.

        e ~ N(0, sigma_j^2) for visible joints, N(0, outlier_px^2) for outliers and N(0, occlusion_px^2) for
        hidden ones; sigma_j is proportional to a factor per joint and scaled to `mean_error_px`.

        Args:
            true_px: [F, V, J, 2] where the joints are.
            is_inside: bool [F, V, J], within the camera's frame.
            fps: frames per second.
            skeleton: of J joints.
            seed: of the errors.

        Returns:
            float32 [F, V, J, 3] x, y and confidence: 0.7 to 1 for visible joints, 0.4 to 1 for outliers, 0.05
            to 0.35 for hidden ones, 0 outside of the frame.
        """
        if not self.mean_error_px:
            return np.concatenate([true_px, is_inside[..., None]], -1).astype(np.float32)
        rng = np.random.default_rng(seed)
        shape = is_inside.shape
        is_hidden = _spells(shape, self.occlusion_rate, self.occlusion_s * fps, rng)
        is_outlier = ~is_hidden & (rng.random(shape) < self.outlier_rate)
        sigma = np.broadcast_to(self._jitter_px() * joint_jitter(skeleton), shape)
        sigma = np.where(is_hidden, self.occlusion_px, np.where(is_outlier, self.outlier_px, sigma))
        error = sigma[..., None] * rng.normal(size=(*shape, 2))
        low = np.where(is_hidden, 0.05, np.where(is_outlier, 0.4, 0.7))
        high = np.where(is_hidden, 0.35, 1.0)
        confidence = np.where(is_inside, rng.uniform(low, high), 0.0)
        return np.concatenate([true_px + error, confidence[..., None]], -1).astype(np.float32)


def joint_jitter(skeleton: Skeleton) -> np.ndarray:
    """Returns the relative jitter [J] of a skeleton's joints; its mean is 1."""
    factors = [
        next((factor for part, factor in _JITTER.items() if part in name), 1.0)
        for name in skeleton.joint_names
    ]
    return np.array(factors) / np.mean(factors)


def _spells(shape: tuple[int, ...], rate: float, length: float, rng: np.random.Generator) -> np.ndarray:
    """Returns bool `shape`, True for the fraction `rate` of the time, in runs of about `length` frames."""
    if not rate:
        return np.zeros(shape, bool)
    smooth = gaussian_filter1d(rng.normal(size=shape), length / 2, axis=0, mode="wrap")
    return smooth > np.quantile(smooth, 1 - rate)
