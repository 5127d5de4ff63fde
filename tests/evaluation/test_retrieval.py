"""Mean-PA-MPJPE@K against a naive double loop and on drawn cases."""

import numpy as np
import pytest

from mcss_tf.evaluation.pose import pa_mpjpe
from mcss_tf.evaluation.retrieval import RANKS, candidates, mean_pa_mpjpe, nearest
from tests.evaluation.splits import make_split, random_split


def naive(split, name: str, k: int) -> tuple[float, float]:
    model, oracle = [], []
    for q in range(len(split)):
        found = [
            (
                np.linalg.norm(split.embedding[q] - split.embedding[d]),
                pa_mpjpe(split.pose_mm[q], split.pose_mm[d]),
            )
            for d in range(len(split))
            if split.camera[d] != split.camera[q] and (name == "same" or split.subject[d] != split.subject[q])
        ]
        if len(found) >= k:
            model.append(np.mean([error for _, error in sorted(found)[:k]]))
            oracle.append(np.mean(sorted(error for _, error in found)[:k]))
    return float(np.mean(model)), float(np.mean(oracle))


@pytest.mark.parametrize("name", ["same", "cross"])
def test_matches_the_double_loop(name):
    split = random_split()
    result = mean_pa_mpjpe(split)
    for k in (1, 5, 10):
        model, oracle = naive(split, name, k)
        np.testing.assert_allclose(result[name][str(k)]["model_mm"], model, atol=1e-3)
        np.testing.assert_allclose(result[name][str(k)]["oracle_mm"], oracle, atol=1e-3)
        np.testing.assert_allclose(result[name][str(k)]["difference_mm"], model - oracle, atol=1e-3)
    assert result["num_queries"] == result["num_images"] == 30
    # 5 instants in 2 other views of the other subject make 10 candidates; 20 are not there.
    assert result["cross"]["20"] is None
    assert result["reasons"] == {"cross.20": "No query has 20 images of other views to find."}


def test_a_perfect_embedding_meets_the_oracle():
    """An embedding that is the instant itself finds the same instant in the other view: PA-MPJPE 0."""
    split = random_split(cameras=2)
    result = mean_pa_mpjpe(
        make_split(np.eye(10)[split.row], split.pose_mm, camera=split.camera, row=split.row)
    )
    np.testing.assert_allclose(result["same"]["1"]["model_mm"], 0, atol=1e-3)
    np.testing.assert_allclose(result["same"]["1"]["difference_mm"], 0, atol=1e-3)


def test_a_drawn_database():
    """Query 0 (camera 0, subject 0) may find 1, 3 and 4; across subjects 3 and 4; 2 has the same camera."""
    split = make_split(
        [[0.0], [5.0], [0.1], [2.0], [1.0]],
        np.random.default_rng(0).normal(size=(5, 16, 3)),
        camera=[0, 1, 0, 1, 1],
        row=[0, 1, 2, 3, 4],
        subject=[0, 0, 1, 1, 1],
        has_pose=[True, True, True, True, False],
    )
    np.testing.assert_array_equal(np.flatnonzero(candidates(split, 0, "same")), [1, 3, 4])
    np.testing.assert_array_equal(np.flatnonzero(candidates(split, 0, "cross")), [3, 4])
    np.testing.assert_array_equal(nearest(split.embedding, 0, candidates(split, 0, "same"), 5), [4, 3, 1])
    # Image 4 has no pose, so it is neither query nor database: the nearest of 0 and 1 are 3 and 2.
    one, two, three = (split.pose_mm[image] for image in (0, 1, 2))
    errors = [pa_mpjpe(one, split.pose_mm[3]), pa_mpjpe(two, three), pa_mpjpe(three, split.pose_mm[3])]
    model_mm = mean_pa_mpjpe(split)["same"]["1"]["model_mm"]
    nearest_of_3 = min((0, 2), key=lambda d: abs(split.embedding[d, 0] - 2.0))
    errors.append(pa_mpjpe(split.pose_mm[3], split.pose_mm[nearest_of_3]))
    np.testing.assert_allclose(model_mm, np.mean(errors), atol=1e-4)


def test_equally_near_images_are_taken_in_order():
    embedding = np.zeros((30, 4))
    np.testing.assert_array_equal(nearest(embedding, 7, np.arange(30) != 7, 3), [0, 1, 2])


def test_queries_are_sampled_by_seed():
    split = random_split()
    few = mean_pa_mpjpe(split, max_queries=7, seed=1)
    assert few["num_queries"] == 7
    assert few["num_images"] == 30
    assert few == mean_pa_mpjpe(split, max_queries=7, seed=1)
    assert few["same"] != mean_pa_mpjpe(split, max_queries=7, seed=2)["same"]
    assert mean_pa_mpjpe(split, max_queries=99)["num_queries"] == 30


def test_other_ranks_and_queries_of_one_camera():
    split = random_split()
    result = mean_pa_mpjpe(split, ranks=(2, 3), is_query=split.camera == 1)
    assert result["num_queries"] == 10
    assert result["num_images"] == 30
    assert set(result["same"]) == {"2", "3"}
    # The mean over all queries is that of the three cameras' queries.
    whole = mean_pa_mpjpe(split, ranks=(2,))["cross"]["2"]["model_mm"]
    parts = [mean_pa_mpjpe(split, ranks=(2,), is_query=split.camera == c)["cross"]["2"] for c in range(3)]
    assert whole == pytest.approx(np.mean([part["model_mm"] for part in parts]))
    assert mean_pa_mpjpe(split, is_query=np.zeros(30, bool)) is None


def test_one_subject_has_no_cross_database():
    result = mean_pa_mpjpe(random_split(subjects=1))
    assert result["cross"] is None
    assert result["reasons"]["cross"] == "Only one subject has poses."
    assert result["same"]["1"]["model_mm"] > 0


def test_one_camera_has_no_database_at_all():
    result = mean_pa_mpjpe(random_split(cameras=1))
    assert result["same"] is None
    assert result["cross"] is None
    assert result["reasons"] == dict.fromkeys(("same", "cross"), "Poses are seen by one camera only.")


def test_without_poses_there_is_no_retrieval():
    assert mean_pa_mpjpe(make_split(np.eye(4), camera=[0, 1, 0, 1], row=[0, 0, 1, 1])) is None


def test_ranks_are_the_papers():
    assert RANKS == (1, 5, 10, 20)
