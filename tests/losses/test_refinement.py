"""Losses of cross-view refinement, on poses whose errors one knows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mcss_tf.geometry.cameras import world_to_camera
from mcss_tf.geometry.skeleton import HUMAN36M_17
from mcss_tf.losses.refinement import refinement_losses
from tests.geometry.test_triangulation import ring
from tests.helpers import STANDING_MM

CAMERAS = ring(4)[:2]


def _scene(num_views=2, poses=None):
    cameras = ring(4)[:num_views]
    poses = (
        np.stack([STANDING_MM, STANDING_MM + np.array([300, 100, 0])]) + np.array([0, 0, 900])
        if poses is None
        else poses
    )
    in_camera = np.stack([world_to_camera(camera, poses) for camera in cameras], 1)
    return {
        "refined_mm": in_camera.astype(np.float32),
        "rays": (in_camera[..., :2] / in_camera[..., 2:]).astype(np.float32),
        "weights": np.ones(in_camera.shape[:-1], np.float32),
        "rotation": np.tile(np.stack([c.rotation for c in cameras]), (2, 1, 1, 1)).astype(np.float32),
        "translation_mm": np.tile(np.stack([c.translation_mm for c in cameras]), (2, 1, 1)).astype("f4"),
    }


def _losses(**scene):
    found = refinement_losses(**scene, skeleton=HUMAN36M_17)._asdict()
    return {name: float(keras.ops.convert_to_numpy(value)) for name, value in found.items()}


@pytest.mark.parametrize("num_views", [1, 2, 3])
def test_the_true_pose_has_no_loss(num_views):
    for name, value in _losses(**_scene(num_views)).items():
        assert value == pytest.approx(0, abs=1e-5), name


def test_equals_the_formulas():
    """Every term again, in loops and in float64."""
    scene = _scene()
    rng = np.random.default_rng(0)
    scene["refined_mm"] += rng.normal(0, 40, scene["refined_mm"].shape).astype(np.float32)
    scene["weights"] = rng.uniform(0, 1, scene["weights"].shape).astype(np.float32)
    received = _losses(**scene)
    s = {name: value.astype(np.float64) for name, value in scene.items()}
    sums = {name: [0.0, 0.0] for name in ("single", "cross", "consistency", "bone", "symmetry")}

    def add(name, value, weight):
        sums[name][0] += value * weight
        sums[name][1] += weight

    for b in range(2):
        for v in range(2):
            for w in range(2):
                rotation = s["rotation"][b, w] @ s["rotation"][b, v].T
                shift = s["translation_mm"][b, w] - rotation @ s["translation_mm"][b, v]
                moved = s["refined_mm"][b, v] @ rotation.T + shift
                seen = moved[:, :2] / moved[:, 2:]
                target, weight = s["rays"][b, w], s["weights"][b, w]
                for j in range(17):
                    add("single" if v == w else "cross", np.sum((seen[j] - target[j]) ** 2), weight[j])
                    if v != w:
                        add("consistency", np.sum((moved[j] - s["refined_mm"][b, w, j]) ** 2) / 1e6, 1.0)
                for p, c in HUMAN36M_17.edges:
                    x, y = target[c] - target[p], seen[c] - seen[p]
                    cosine = x @ y / np.linalg.norm(x) / np.linalg.norm(y)
                    add("bone", 1 - cosine, weight[p] * weight[c] * min(np.linalg.norm(x) / 0.01, 1))
            for p, c in HUMAN36M_17.edges:
                other_p, other_c = HUMAN36M_17.mirror[p], HUMAN36M_17.mirror[c]
                if c < other_c:
                    pose = s["refined_mm"][b, v]
                    left, right = pose[c] - pose[p], pose[other_c] - pose[other_p]
                    add("symmetry", abs(np.linalg.norm(left) - np.linalg.norm(right)) / 1000, 1.0)
    for name, (total, weight) in sums.items():
        assert received[name] == pytest.approx(total / weight, rel=1e-3), name


def test_an_error_along_the_ray_shows_only_in_the_other_view():
    scene = _scene()
    scene["refined_mm"][:, 0] *= 1.02
    found = _losses(**scene)
    assert found["single"] == pytest.approx(0, abs=1e-8)
    assert found["cross"] > 1e-5
    assert found["consistency"] > 1e-3


def test_consistency_alone_is_satisfied_by_a_collapsed_pose():
    """All joints of all views in one point of the room: the term cannot stand alone."""
    scene = _scene(poses=np.full((2, 17, 3), (100.0, 50, 900)))
    scene["rays"] = _scene()["rays"]
    found = _losses(**scene)
    assert found["consistency"] == pytest.approx(0, abs=1e-6)
    assert found["single"] > 1e-3


def test_an_unseen_target_does_not_count():
    scene = _scene()
    scene["rays"][0, 1, 5] = np.inf
    scene["weights"][0, 1, 5] = 0
    found = _losses(**scene)
    assert found["single"] == pytest.approx(0, abs=1e-6)
    assert found["cross"] == pytest.approx(0, abs=1e-6)


def test_one_longer_arm_is_asymmetric():
    scene = _scene()
    wrist, elbow = 13, 12
    bone = scene["refined_mm"][:, :, wrist] - scene["refined_mm"][:, :, elbow]
    scene["refined_mm"][:, :, wrist] += bone
    # One bone of six pairs is |bone| longer: 241 mm.
    expected = np.linalg.norm(STANDING_MM[wrist] - STANDING_MM[elbow]) / 1000 / 6
    assert _losses(**scene)["symmetry"] == pytest.approx(expected, rel=1e-3)


def test_gradients_are_finite_behind_a_camera_and_at_bones_without_length():
    scene = {name: tf.constant(value) for name, value in _scene().items()}
    poses = tf.Variable(-scene["refined_mm"])
    poses[:, :, 3].assign(poses[:, :, 2])
    with tf.GradientTape() as tape:
        total = sum(refinement_losses(**{**scene, "refined_mm": poses}, skeleton=HUMAN36M_17))
    assert np.isfinite(tape.gradient(total, poses).numpy()).all()
