"""Graphs over joints, parts and views: drawn by hand, and on skeletons of other makes."""

import numpy as np
import pytest

from mcss_tf.geometry.body_graph import KERNELS, LEVELS, body_parts, kernels
from mcss_tf.geometry.skeleton import HUMAN36M_17, Skeleton

# root - left_a - left_b, root - right_a - right_b, root - top
SMALL = Skeleton("small", ("root", "left_a", "left_b", "right_a", "right_b", "top"), (-1, 0, 1, 0, 3, 0))
NO_SIDES = Skeleton("snake", ("head", "middle", "tail"), (-1, 0, 1))
FACE = Skeleton(
    "face", ("nose", "left_eye", "right_eye", "left_shoulder", "left_elbow", "right_shoulder", "right_elbow"),
    (-1, 0, 0, 0, 3, 0, 5),
)  # fmt: skip


def test_the_parts_of_human36m_are_the_papers():
    expected = {(11, 12, 13), (14, 15, 16), (4, 5, 6), (1, 2, 3), (0, 7, 8, 9, 10)}
    assert set(body_parts(HUMAN36M_17)) == expected


@pytest.mark.parametrize(
    ("skeleton", "expected"),
    [
        (SMALL, ((0, 5), (1, 2), (3, 4))),
        (NO_SIDES, ((0, 1, 2),)),
        (FACE, ((0, 1, 2), (3, 4), (5, 6))),  # a single eye is no limb
    ],
)
def test_the_parts_of_other_skeletons(skeleton, expected):
    assert body_parts(skeleton) == expected


@pytest.mark.parametrize("skeleton", [HUMAN36M_17, SMALL, NO_SIDES, FACE])
def test_every_joint_is_in_one_part(skeleton):
    joints = [joint for part in body_parts(skeleton) for joint in part]
    assert sorted(joints) == list(range(skeleton.num_joints))


def test_kernels_drawn_by_hand():
    found = {name: matrix > 0 for name, matrix in kernels(SMALL, "joints", 1).items()}

    def edges(name):
        return {tuple(map(int, pair)) for pair in np.argwhere(found[name]) if pair[0] <= pair[1]}

    assert edges("self") == {(i, i) for i in range(6)}
    assert edges("physical") == {(0, 1), (1, 2), (0, 3), (3, 4), (0, 5)}
    assert edges("second") == {(0, 2), (0, 4), (1, 3), (1, 5), (3, 5)}
    assert edges("symmetric") == {(1, 3), (2, 4)}
    assert "cross_view" not in found


def test_parts_and_body():
    parts = kernels(SMALL, "parts", 2)
    # The torso touches both limbs; the limbs mirror each other and are two steps apart.
    torso_left = parts["physical"][0, 1]
    assert torso_left == pytest.approx(1 / np.sqrt(2))
    assert parts["symmetric"][1, 2] == parts["second"][1, 2] == 1
    assert set(kernels(SMALL, "body", 2)) == {"self", "cross_view"}
    assert set(kernels(SMALL, "body", 1)) == {"self"}


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("num_views", [1, 2, 3])
def test_kernels_are_the_normalised_adjacency(level, num_views):
    for name, matrix in kernels(HUMAN36M_17, level, num_views).items():
        assert name in KERNELS
        np.testing.assert_array_equal(matrix, matrix.T)
        # D^-1/2 A D^-1/2 has spectral radius 1, and a row without neighbours is zero, not infinite.
        assert np.abs(np.linalg.eigvalsh(matrix)).max() == pytest.approx(1, abs=1e-5)
        degree = (matrix > 0).sum(1)
        for i, j in np.argwhere(matrix > 0)[:50]:
            assert matrix[i, j] == pytest.approx(1 / np.sqrt(degree[i] * degree[j]), rel=1e-5)


def test_views_touch_only_in_the_cross_view_kernel():
    found = kernels(HUMAN36M_17, "joints", 3)
    for name, matrix in found.items():
        blocks = matrix.reshape(3, 17, 3, 17)
        for v in range(3):
            for w in range(3):
                if (v == w) == (name == "cross_view"):
                    assert not blocks[v, :, w].any()
    np.testing.assert_allclose(found["cross_view"].reshape(3, 17, 3, 17)[0, :, 1], np.eye(17) / 2)


def test_the_pelvis_has_no_mirror_and_a_row_of_zeros():
    symmetric = kernels(HUMAN36M_17, "joints", 2)["symmetric"]
    assert not symmetric[0].any()
    assert symmetric[1, 4] == 1
