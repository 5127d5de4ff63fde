"""Batches of views: a function of (seed, step), every instant once an epoch, only views that exist."""

import numpy as np
import pytest

from mcss_tf.data.keypoint_batches import KeypointPlan, keypoint_batches
from mcss_tf.data.keypoint_views import load_keypoint_views
from mcss_tf.errors import InputError
from tests.keypoint_data import make_keypoint_dataset


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    dataset = make_keypoint_dataset(tmp_path_factory.mktemp("keypoints"), error_px=2.0, missing_views=True)
    return load_keypoint_views(dataset, "train")


def take(views, count, **options):
    options = {"batch_size": 5, **options}
    batches = keypoint_batches(views, **options).take(count)
    return [{name: value.numpy() for name, value in batch.items()} for batch in batches]


def test_a_batch_holds_what_the_views_hold(views):
    for batch in take(views, 6):
        for b, row in enumerate(batch["row"]):
            n = int(np.flatnonzero(views.row == row)[0])
            assert len(set(batch["camera"][b])) == 2
            for v, camera in enumerate(batch["camera"][b]):
                assert views.is_seen[n, camera]
                np.testing.assert_array_equal(batch["keypoints_px"][b, v], views.keypoints_px[n, camera])
                np.testing.assert_array_equal(batch["rays"][b, v], views.rays[n, camera])
                np.testing.assert_array_equal(batch["rays_true"][b, v], views.rays_true[n, camera])
                at = views.sequence[n], camera
                for name in ("matrix", "rotation", "translation_mm"):
                    np.testing.assert_array_equal(batch[name][b, v], getattr(views, name)[at])
            np.testing.assert_array_equal(batch["joints_mm"][b], views.joints_mm[n])


def test_a_resumed_run_sees_the_same_batches(views):
    whole, resumed = take(views, 9, seed=3), take(views, 5, seed=3, start_step=4)
    for one, other in zip(whole[4:], resumed, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    assert any((a["row"] != b["row"]).any() for a, b in zip(whole, take(views, 9, seed=4), strict=True))


def test_an_epoch_uses_every_instant_once(views):
    plan = KeypointPlan(views, 6, 2, None, seed=0)
    assert plan.steps_per_epoch == 4
    drawn = np.concatenate([plan.batch(step)[0] for step in range(4)])
    np.testing.assert_array_equal(np.sort(drawn), np.arange(24))
    second = np.concatenate([plan.batch(step)[0] for step in range(4, 8)])
    assert (drawn != second).any()


def test_sets_of_views(views):
    sets = [("a", "b"), ("b", "c")]
    plan = KeypointPlan(views, 50, 2, sets, seed=0)
    instants, cameras = plan.batch(0)
    assert {tuple(sorted(pair)) for pair in cameras.tolist()} == {(0, 1), (1, 2)}
    assert {tuple(pair) for pair in cameras.tolist()} == {(0, 1), (1, 0), (1, 2), (2, 1)}, "in either order"
    assert views.is_seen[instants[:, None], cameras].all()


def test_three_views_leave_out_instants_with_two(views):
    plan = KeypointPlan(views, 8, 3, None, seed=0)
    assert plan.steps_per_epoch == 2
    for step in range(4):
        assert views.is_seen[plan.batch(step)[0]].all()


def test_views_that_never_overlap(views):
    first = np.zeros_like(views.is_seen)
    first[::2, 0] = first[1::2, 1] = True
    apart = views.__class__(**{**views.__dict__, "is_seen": first})
    with pytest.raises(InputError, match=r"2 cameras see at once. Received: none.*overlap in time"):
        KeypointPlan(apart, 4, 2, None, seed=0)
    with pytest.raises(InputError, match=r"Received: none .* in the sets \[\['a', 'b'\]\]"):
        KeypointPlan(apart, 4, 2, [("a", "b")], seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_views": 4}, r"1 to 3 views of it. Received: batch_size=5, num_views=4"),
        ({"batch_size": 0}, r"at least one instant.*Received: batch_size=0"),
        ({"view_sets": [("a", "x")]}, r"2 distinct cameras out of \['a', 'b', 'c'\]. Received: \['a', 'x'\]"),
        ({"view_sets": [("a", "b", "c")]}, r"2 distinct cameras.*Received: \['a', 'b', 'c'\]"),
    ],
)
def test_bad_requests(views, options, message):
    with pytest.raises(InputError, match=message):
        keypoint_batches(views, **{"batch_size": 5, **options})
