"""Plans of epochs: every guarantee of a batch, on drawn and on random timelines."""

import dataclasses
import itertools
import time
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_collections import ConfigDict

from mcss_tf.data import pairs, planning
from mcss_tf.data.dataset import Index
from mcss_tf.errors import InputError
from tests.helpers import make_tiny_dataset

NONE = np.zeros(0, np.int64)


def make_index(times_s, subject=0, sequence=0, view_mask=0b1111, num_cameras=4) -> Index:
    """An index of N instants; scalars hold for all of them."""
    times_s = np.asarray(times_s, np.float64)
    n = len(times_s)
    mask = np.broadcast_to(np.asarray(view_mask, np.uint64), n)
    is_present = (mask[:, None] >> np.arange(num_cameras, dtype=np.uint64)) & np.uint64(1)
    return Index(
        shard=np.zeros(n, np.int32),
        offset=np.zeros(n, np.int64),
        length=np.zeros(n, np.int32),
        subject=np.broadcast_to(np.int32(subject), n),
        sequence=np.broadcast_to(np.int32(sequence), n),
        split=np.zeros(n, np.int8),
        frame=np.arange(n),
        time_s=times_s,
        view_mask=mask,
        has_pose=np.ones(n, bool),
        image_offset=np.zeros((n, num_cameras), np.int32),
        image_length=is_present.astype(np.int32),
        canonical_mm=np.zeros((n, 17, 3), np.float32),
        joint_mask=np.ones((n, 17), np.float32),
    )


def plan(
    index,
    *,
    rows=None,
    num_pairs=4,
    num_labelled=0,
    labelled=NONE,
    min_gap_s=0.0,
    seed=0,
    epoch=0,
    num_views=2,
    part_instants=planning.PART_INSTANTS,
):
    """A whole epoch."""
    planner = planning.Planner(
        index,
        np.arange(len(index)) if rows is None else rows,
        num_views=num_views,
        num_pairs=num_pairs,
        num_labelled=num_labelled,
        labelled_rows=labelled,
        min_gap_s=min_gap_s,
        seed=seed,
        part_instants=part_instants,
    )
    plans = [planner.part(epoch, part) for part in range(planner.num_parts)]
    fields = (field.name for field in dataclasses.fields(planning.Plan))
    return planning.Plan(**{name: np.concatenate([getattr(p, name) for p in plans]) for name in fields})


def gap(index, num_pairs, requested="auto", **options):
    return pairs.resolve_min_gap(index, np.arange(len(index)), num_pairs, requested, **options)


def check(index, drawn, num_pairs, min_gap_s):
    """Checks what every batch promises, pair by pair."""
    assert drawn.rows.shape == (len(drawn), num_pairs)
    for subject, rows, cameras in zip(drawn.subject, drawn.rows, drawn.cameras, strict=True):
        assert len(set(rows)) == num_pairs, "distinct instants"
        assert set(index.subject[rows]) == {subject}, "one subject"
        for a, b in itertools.combinations(rows, 2):
            if index.sequence[a] == index.sequence[b]:
                assert abs(index.time_s[a] - index.time_s[b]) >= min_gap_s - 1.5e-6
        for row, (anchor, positive) in zip(rows, cameras, strict=True):
            assert anchor != positive, "two views"
            assert index.image_length[row, [anchor, positive]].all(), "both present"


@st.composite
def indices(draw):
    """Some subjects with some sequences of irregular times; views are missing here and there."""
    times, subjects, sequences, masks = [], [], [], []
    number = 0
    for subject in range(draw(st.integers(1, 3))):
        for _ in range(draw(st.integers(1, 3))):
            steps = draw(st.lists(st.integers(1, 400_000), min_size=1, max_size=25))
            times += (np.cumsum(steps) / 1e6).tolist()
            subjects += [subject] * len(steps)
            sequences += [number] * len(steps)
            masks += draw(st.lists(st.integers(1, 15), min_size=len(steps), max_size=len(steps)))
            number += 1
    order = np.random.default_rng(draw(st.integers(0, 9))).permutation(len(times))
    columns = (np.array(c)[order] for c in (times, subjects, sequences, masks))
    return make_index(*columns)


def largest_packing(times, gap_s) -> int:
    """The reference: tries every subset, largest first."""
    for size in range(len(times), 0, -1):
        for subset in itertools.combinations(sorted(times), size):
            if all(b - a >= gap_s - 1.5e-6 for a, b in itertools.pairwise(subset)):
                return size
    return 0


@settings(max_examples=200, deadline=None)
@given(indices(), st.integers(2, 6), st.integers(0, 3), st.integers(0, 2), st.sampled_from([5, 20, 100]))
def test_every_plan_keeps_its_promises(index, num_pairs, seed, epoch, part_instants):
    try:
        gap_s = gap(index, num_pairs)
    except InputError:
        usable = index.is_present().sum(1) >= 2
        counts = [np.sum(usable & (index.subject == s)) for s in np.unique(index.subject[usable])]
        assert not counts or min(counts) < num_pairs, "refused only where the instants do not suffice"
        return
    options = {
        "num_pairs": num_pairs,
        "min_gap_s": gap_s,
        "seed": seed,
        "epoch": epoch,
        "part_instants": part_instants,
    }
    with mock.patch.object(planning, "_MIN_BATCHES", 1):  # so that few instants make many parts
        drawn, again = plan(index, **options), plan(index, **options)
    check(index, drawn, num_pairs, gap_s)
    for field in ("subject", "rows", "cameras"):
        np.testing.assert_array_equal(getattr(drawn, field), getattr(again, field))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=10, unique=True), st.integers(1, 5), st.integers(1, 12)
)
def test_auto_is_the_largest_gap_that_leaves_enough(steps, num_pairs, gap_steps):
    """Against all subsets: M fit at the gap that auto found, and do not fit at a larger one."""
    times = np.array(steps) / 10
    index = make_index(times)
    fits = largest_packing(times, gap_steps / 10) >= num_pairs
    if fits:
        assert gap(index, num_pairs, gap_steps / 10) == gap_steps / 10
    else:
        with pytest.raises(InputError, match="metric batch needs"):
            gap(index, num_pairs, gap_steps / 10)
    if len(steps) >= num_pairs:
        auto = gap(index, num_pairs)
        assert largest_packing(times, auto) >= num_pairs
        assert auto == 1.0 or largest_packing(times, auto + 5e-6) < num_pairs


def test_a_drawn_case():
    """0 s, 1 s ... 9 s: ten instants 1 s apart; five of them 2 s apart, in two ways that use every other."""
    index = make_index(np.arange(10.0))
    assert gap(index, 10) == 1.0
    assert gap(index, 5, 2.0) == 2.0
    drawn = plan(index, num_pairs=5, min_gap_s=2.0)
    assert len(drawn) == 2
    check(index, drawn, 5, 2.0)
    with pytest.raises(InputError, match=r"6 instants .* 2 s apart. Received: at most \{'Anna': 5\}"):
        gap(index, 6, 2.0, subjects=["Anna"])


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60, 30000 / 1001])
def test_frames_exactly_one_gap_apart_may_stand_together(fps):
    """k frames are k / fps seconds whatever the rounding of the times is."""
    index = make_index(np.arange(60) / fps)
    for frames in (1, 3, 7):
        assert gap(index, 60 // frames, frames / fps) == pytest.approx(frames / fps, abs=1e-6)
        check(index, plan(index, num_pairs=60 // frames, min_gap_s=frames / fps), 60 // frames, frames / fps)


def test_sequences_do_not_limit_each_other():
    """The same instant of the clock in another sequence is another moment."""
    index = make_index(np.tile(np.arange(3.0), 4), sequence=np.repeat(np.arange(4), 3))
    assert gap(index, 12) == 1.0
    check(index, plan(index, num_pairs=12, min_gap_s=1.0), 12, 1.0)


def test_auto_serves_the_subject_with_the_least_room():
    index = make_index(np.concatenate([np.arange(100.0), np.arange(20) / 10]), np.repeat([0, 1], [100, 20]))
    assert gap(index, 10) == pytest.approx(0.2, abs=2e-6)


def test_auto_prefers_some_gap_to_none():
    """60 frames at 60 fps, 20 wanted: every third frame."""
    assert gap(make_index(np.arange(60) / 60), 20) == pytest.approx(0.05, abs=2e-6)


def test_without_conflicts_uses_differ_by_at_most_one():
    index = make_index(np.arange(103) * 2.0)
    drawn = plan(index, num_pairs=8, min_gap_s=1.0)
    uses = np.bincount(drawn.rows.ravel(), minlength=103)
    assert uses.sum() == 13 * 8
    assert set(uses) == {1, 2}


@pytest.fixture
def uneven():
    """1,000 instants of one subject, 700 of another, 40 of a third, half a second apart."""
    subject = np.repeat([0, 1, 2], [1000, 700, 40])
    return make_index(np.arange(1740) * 0.5, subject=subject, sequence=subject)


def planner(index, part_instants, num_pairs=4, labelled=NONE, num_labelled=0):
    counts = {"num_pairs": num_pairs, "num_labelled": num_labelled, "labelled_rows": labelled}
    options = {"min_gap_s": 1.0, "seed": 0, "part_instants": part_instants}
    return planning.Planner(index, np.arange(len(index)), **counts, **options)


def test_parts_of_an_epoch_share_out_every_subject(uneven):
    """At 300 instants a part there are 6; 40 instants make 10 batches, fewer than a share has at least."""
    parts = planner(uneven, 300)
    drawn = [parts.part(1, part) for part in range(parts.num_parts)]
    assert parts.num_parts == 6
    assert [set(p.subject.tolist()) for p in drawn] == [{0, 1, 2}] + [{0, 1}] * 5
    for p in drawn:
        check(uneven, p, 4, 1.0)
        uses = np.bincount(p.rows.ravel(), minlength=1740)
        assert (uses[:1000] > 0).sum() == pytest.approx(1000 / 6, rel=0.1)
    together = np.bincount(np.concatenate([p.rows.ravel() for p in drawn]), minlength=1740)
    assert (together == 0).mean() < 0.05
    assert together.max() <= 3
    assert sum(map(len, drawn)) == parts.steps_per_epoch
    assert not np.array_equal(drawn[0].rows, parts.part(2, 0).rows), "shared out anew in the next epoch"


def test_steps_are_found_in_their_parts(uneven):
    parts = planner(uneven, 300)
    lengths = [len(parts.part(0, part)) for part in range(6)]
    expected = [(e, p, k) for e in range(2) for p, n in enumerate(lengths) for k in range(n)]
    assert [parts.locate(step) for step in range(2 * parts.steps_per_epoch)] == expected


def test_labelled_images_run_on_across_parts_and_epochs(uneven):
    """10 labelled instants in 4 views, 7 a step: any 40 in turn, from a multiple of 40 on, are all images."""
    parts = planner(uneven, 300, labelled=np.arange(10), num_labelled=7)
    plans = [parts.part(epoch, part) for epoch in range(2) for part in range(6)]
    rows = np.concatenate([p.labelled_rows.ravel() for p in plans])
    cameras = np.concatenate([p.labelled_cameras.ravel() for p in plans])
    images = 4 * rows + cameras
    whole = images[: len(images) // 40 * 40].reshape(-1, 40)
    np.testing.assert_array_equal(np.sort(whole, axis=1), np.tile(np.arange(40), (len(whole), 1)))
    assert len({tuple(order) for order in whole.tolist()}) == len(whole), "shuffled anew each time"


def test_a_share_without_room_for_a_batch_borrows_instants():
    """A batch takes one of ten instants at each of three moments; a share of five may lack a moment."""
    index = make_index(np.repeat([0.0, 1.0, 2.0], 10) + np.tile(np.arange(10) * 1e-6, 3))
    with mock.patch.object(planning, "_MIN_BATCHES", 1):
        for seed in range(20):
            drawn = plan(index, num_pairs=3, min_gap_s=0.9, part_instants=5, seed=seed)
            check(index, drawn, 3, 0.9)
            assert len(drawn) == 12, "six parts of two batches"


def test_the_number_of_steps_is_that_of_the_parts(uneven, monkeypatch):
    monkeypatch.setattr(planning, "PART_INSTANTS", 300)
    counts = {"num_pairs": 4, "num_labelled": 0, "labelled_rows": NONE}
    steps = planning.steps_per_epoch(uneven, np.arange(1740), **counts)
    assert steps == planner(uneven, 300).steps_per_epoch
    assert steps >= 1740 / 4


def test_with_conflicts_every_instant_is_used_about_equally():
    """10 fps and a gap of 1 s: 3,000 instants, 46 batches of 66 out of a capacity of 300."""
    index = make_index(np.arange(3000) / 10)
    uses = np.bincount(plan(index, num_pairs=66, min_gap_s=1.0).rows.ravel(), minlength=3000)
    assert uses.max() <= 2
    assert np.mean(uses == 0) < 0.02


def test_a_tight_batch_is_filled_whatever_comes_first():
    """Capacity 16 of 61 and 16 wanted leave one choice: 0, 4, ..., 60. A greedy draw would miss it."""
    index = make_index(np.arange(61) / 60)
    gap_s = gap(index, 16)
    assert gap_s == pytest.approx(4 / 60, abs=2e-6)
    drawn = plan(index, num_pairs=16, min_gap_s=gap_s)
    assert np.array_equal(np.sort(drawn.rows, axis=1), np.tile(np.arange(0, 61, 4), (4, 1)))


def test_both_orders_of_all_pairs_of_views_are_equally_likely():
    index = make_index(np.arange(6000.0))
    cameras = plan(index, num_pairs=60, min_gap_s=1.0).cameras.reshape(-1, 2)
    counts = np.bincount(cameras[:, 0] * 4 + cameras[:, 1], minlength=16).reshape(4, 4)
    assert not counts.diagonal().any()
    assert counts[~np.eye(4, dtype=bool)] == pytest.approx(500, abs=5 * np.sqrt(500))


@pytest.mark.parametrize(
    ("present", "num_different"), [([1, 1, 0, 0], 2), ([1, 1, 1, 0], 3), ([1, 1, 1, 1], 4)]
)
def test_fewer_views_than_asked_for_repeat_in_turn(present, num_different):
    index = make_index(range(5), view_mask=np.packbits(present, bitorder="little")[0])
    cameras = plan(index, num_pairs=2, num_views=4).cameras
    assert cameras.shape[1:] == (2, 4)
    for views in cameras.reshape(-1, 4):
        assert len(set(views[:num_different])) == num_different
        np.testing.assert_array_equal(views, np.resize(views[:num_different], 4))
        assert all(present[camera] for camera in views)


def test_instants_with_one_view_are_left_out_of_pairs_only():
    masks = [0b0001, 0b0011, 0b1010, 0b0100, 0b0111, 0b1111]
    index = make_index(np.arange(6.0), view_mask=masks)
    drawn = plan(index, num_pairs=2, num_labelled=5, labelled=np.arange(6))
    assert set(drawn.rows.ravel()) == {1, 2, 4, 5}
    check(index, drawn, 2, 0.0)
    assert (0, 0) in set(zip(drawn.labelled_rows.ravel(), drawn.labelled_cameras.ravel(), strict=True))


def test_each_subject_has_its_share_of_steps_in_mixed_order():
    index = make_index(np.arange(500.0), np.repeat([0, 1], [400, 100]))
    drawn = plan(index, num_pairs=10)
    assert np.bincount(drawn.subject).tolist() == [40, 10]
    assert len(set(drawn.subject[:20])) == 2, "shuffled"


def test_seeds_and_epochs_give_other_plans():
    index = make_index(np.arange(50.0))
    plans = [plan(index, seed=s, epoch=e).rows for s, e in [(0, 0), (0, 1), (1, 0)]]
    assert not any(np.array_equal(a, b) for a, b in itertools.combinations(plans, 2))


def test_labelled_images_run_through_all_views_across_epochs():
    index = make_index(np.arange(8.0), view_mask=[3] * 7 + [1])
    labelled = np.array([1, 3, 7])
    plans = [plan(index, num_labelled=3, labelled=labelled, epoch=e) for e in range(10)]
    rows = np.concatenate([p.labelled_rows.ravel() for p in plans])
    cameras = np.concatenate([p.labelled_cameras.ravel() for p in plans])
    assert len(rows) == 60, "ten epochs of two steps of three images: twelve passes"
    passes = [sorted(zip(rows[i : i + 5], cameras[i : i + 5], strict=True)) for i in range(0, 60, 5)]
    assert all(p == [(1, 0), (1, 1), (3, 0), (3, 1), (7, 0)] for p in passes)
    assert len({tuple(rows[i : i + 5]) for i in range(0, 60, 5)}) > 3, "each pass is shuffled anew"


def test_the_baseline_has_labelled_images_alone():
    index = make_index(np.arange(8.0))
    drawn = plan(index, num_pairs=0, num_labelled=6, labelled=np.arange(4))
    assert drawn.rows.shape == (3, 0)
    assert drawn.cameras.shape == (3, 0, 2)
    assert drawn.labelled_rows.shape == (3, 6)
    assert drawn.subject.tolist() == [-1, -1, -1]


def test_nothing_to_learn_from_is_refused():
    with pytest.raises(InputError, match="Received: num_pairs=0, num_labelled=0"):
        plan(make_index([0.0]), num_pairs=0)


def test_labels_are_needed_for_labelled_images():
    with pytest.raises(InputError, match="num_labelled=3 needs labelled instants .*Received: none"):
        plan(make_index(np.arange(9.0)), num_labelled=3)


def test_one_view_alone_makes_no_metric_batch():
    with pytest.raises(InputError, match="Received: at most no such instants at all"):
        gap(make_index(np.arange(9.0), view_mask=1), 4)


@pytest.mark.parametrize("requested", [-1.0, float("nan"), "1s"])
def test_a_gap_is_seconds_or_auto(requested):
    with pytest.raises(InputError, match=r'seconds >= 0, or "auto". Received: '):
        gap(make_index(np.arange(9.0)), 4, requested)


def test_auto_needs_enough_instants_even_without_a_gap():
    with pytest.raises(
        InputError, match=r"needs 12 instants .* 0 s apart. Received: at most \{'subject 0': 9\}"
    ):
        gap(make_index(np.arange(9.0)), 12)


def test_human36m_size_is_planned_in_seconds():
    """300,000 instants of five subjects, 30 sequences each, 10 per second."""
    index = make_index(
        np.tile(np.arange(2000) / 10, 150), np.repeat(np.arange(5), 60_000), np.repeat(np.arange(150), 2000)
    )
    start = time.perf_counter()
    drawn = plan(index, num_pairs=66, num_labelled=22, labelled=np.arange(60_000), min_gap_s=1.0)
    assert time.perf_counter() - start < 30, "about 2 s on a quiet core"
    uses = np.bincount(drawn.rows.ravel(), minlength=len(index))
    assert uses.max() <= 2
    assert np.mean(uses == 0) < 0.001


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    path = tmp_path_factory.mktemp("labels")
    return make_tiny_dataset(path, ("S1", "S5", "S9"), instants=20, cameras=2, test_subjects=("S9",))


def test_labels_of_all_and_by_subject(dataset):
    assert pairs.labelled_rows(dataset, "all").tolist() == list(range(40))
    assert pairs.labelled_rows(dataset, ["S5"]).tolist() == list(range(20, 40))
    assert pairs.labelled_rows(dataset, ("S5", "S1")).tolist() == list(range(40))
    assert pairs.labelled_rows(dataset, "none").tolist() == []
    assert pairs.labelled_rows(dataset, []).tolist() == []
    assert pairs.labelled_rows(dataset, "all", "test").tolist() == list(range(40, 60))


def test_a_fraction_of_labels_is_fixed_by_its_seed(dataset):
    labels = {"subjects": ["S1"], "fraction": 0.25}
    rows = pairs.labelled_rows(dataset, labels)
    assert len(rows) == len(set(rows)) == 5
    assert set(rows) < set(range(20))
    np.testing.assert_array_equal(rows, pairs.labelled_rows(dataset, ConfigDict(labels)))
    assert not np.array_equal(rows, pairs.labelled_rows(dataset, labels | {"seed": 1}))
    assert len(pairs.labelled_rows(dataset, {"fraction": 0.1})) == 4
    assert len(pairs.labelled_rows(dataset, {"subjects": ["S1"], "fraction": 1e-3})) == 1


def test_an_unlabelled_dataset_has_no_labelled_rows(tmp_path):
    dataset = make_tiny_dataset(tmp_path, ("S1",), labelled=False)
    assert pairs.labelled_rows(dataset, "all").tolist() == []
    with pytest.raises(InputError, match=r"there are none. Received: 'S1'"):
        pairs.labelled_rows(dataset, ["S1"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["S9"], r"train split that have 3D poses: \['S1', 'S5'\]. Received: 'S9'"),
        ("S1", r'"all", "none", a list of subjects or a dict. Received: \'S1\''),
        ({"fraction": 0}, r"fraction \(above 0, at most 1\).*Received: \{'fraction': 0\}"),
        ({"fraction": 1.5}, "Received: .*1.5"),
        ({"subject": ["S1"]}, "Received: .*'subject'"),
    ],
)
def test_wrong_labels_are_refused(dataset, labels, message):
    with pytest.raises(InputError, match=message):
        pairs.labelled_rows(dataset, labels)


def test_mixed_batches_take_instants_of_all_subjects_and_keep_the_gap():
    times = np.tile(np.arange(30) * 0.5, 3)
    subject = np.repeat([0, 1, 2], 30)
    index = make_index(times, subject=subject, sequence=subject)
    options = {"num_pairs": 10, "num_labelled": 0, "labelled_rows": NONE, "min_gap_s": 1.0, "is_mixed": True}
    drawn = planning.Planner(index, np.arange(90), **options, seed=0).part(0, 0)
    assert (drawn.subject == -1).all()
    assert len(drawn) == 9  # one timeline of 90 instants, not three of 30
    assert (np.bincount(drawn.rows.ravel(), minlength=90) > 0).mean() > 0.9
    for rows in drawn.rows:
        assert len(set(subject[rows])) > 1
        for one, other in itertools.combinations(rows, 2):
            assert subject[one] != subject[other] or abs(times[one] - times[other]) >= 1.0
    assert gap(index, 45, "auto", is_mixed=True) == 1.0
    with pytest.raises(InputError, match=r"Received: at most \{'all subjects': 45\}"):
        gap(index, 46, 1.0, is_mixed=True)


def test_no_batch_uses_a_camera_that_is_left_out(tmp_path):
    dataset = make_tiny_dataset(tmp_path / "data", instants=8)
    index = dataset.without_cameras(["cam1"]).index
    drawn = plan(index, num_labelled=5, labelled=np.arange(8), min_gap_s=0.5)
    assert set(drawn.cameras.ravel()) == set(drawn.labelled_cameras.ravel()) == {0, 2}
    assert dataset.index.is_present().all()
    for names in (["cam7"], ["cam0", "cam1", "cam2"]):
        with pytest.raises(InputError, match=r"some of cam0, cam1, cam2, not all. Received: cam"):
            dataset.without_cameras(names)
