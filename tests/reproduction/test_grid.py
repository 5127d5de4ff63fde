"""The grid itself: every row fits its config, is named once, and shares what it should."""

import pytest

from configs import studio_benchmark
from mcss_tf.data.sources.studio import StudioOptions
from mcss_tf.reproduction import grid, keypoint_rows, tables
from mcss_tf.reproduction.ablations import ABLATIONS
from mcss_tf.reproduction.measure import MEASURES
from mcss_tf.reproduction.trainings import training_of

CHECKSUMS = {"first": "a", "other": "b", "mocap": "c", "occluded": "d"}


@pytest.fixture(scope="module")
def trainings():
    return {(r.experiment, r.method, r.labels): training_of(r, 0, CHECKSUMS) for r in grid.rows()}


def test_every_row_fits_its_config_and_is_named_once(trainings):
    assert len(trainings) == len(grid.rows())
    for row in grid.rows():
        assert row.measured in MEASURES
        assert row.room in grid.ROOMS
        assert row.experiment in grid.EXPERIMENTS or row.measured == "pictures"


def test_one_network_serves_all_that_need_the_same(trainings):
    shared = [
        ("table1", "MCSS"), ("fig3", "MCSS"), ("retrieval", "MCSS"), ("distances", "MCSS"), ("maps", "MCSS"),
        ("novel_view", "MCSS, all cameras"), ("cross_dataset", "MCSS, before"),
        ("longer", "MCSS, 5,000 steps"),
    ]  # fmt: skip
    assert len({trainings[(*name, "S1")].key for name in shared}) == 1
    assert trainings[("fig3", "Baseline", "All")].key == trainings[("table1", "Baseline", "All")].key
    assert trainings[("table1", "MCSS", "All")].key != trainings[("table1", "MCSS", "S1")].key
    after = trainings[("cross_dataset", "MCSS, after", "S1")]
    assert after.start.key == trainings[("table1", "MCSS", "S1")].key
    assert after.images_sha256 == "b"


def test_the_baseline_has_the_same_network_and_augmentation(trainings):
    for labels in ("S1", "All"):
        baseline, mcss = (trainings[("table1", name, labels)].settings for name in ("Baseline", "MCSS"))
        differs = {name for name in baseline if baseline[name] != mcss[name]} - {"augment.background"}
        assert not {
            name for name in differs if name.startswith(("augment.", "backbone.", "embedding.", "labels."))
        }
        assert baseline["loss.metric_weight"] == 0.0


def test_ablations_change_one_thing_and_never_see_the_test_split(trainings):
    rows = [row for row in grid.rows() if row.experiment.startswith("ablation_")]
    assert {row.experiment for row in rows} == {f"ablation_{name}" for name in ABLATIONS}
    for row in rows:
        assert row.measured == "validation"
        settings = trainings[(row.experiment, row.method, row.labels)].settings
        assert settings["validation.subjects"] == "S7,S8"
        assert settings["labels.subjects"] == "S1"


def test_fractions_of_labels():
    assert grid.labelled("10 % of S1", {"a": 1}) == {"a": 1, "labels.subjects": "S1", "labels.fraction": 0.1}
    assert grid.labelled("S1+S5", {}) == {"labels.subjects": "S1,S5"}


def test_what_is_to_be_reached_is_in_the_grid():
    """Every goal finds its numbers once all rows have been run."""
    full = {}
    for row in grid.rows():
        if row.experiment in grid.EXPERIMENTS:
            experiment = grid.EXPERIMENTS[row.experiment]
            cell = {"seeds": [0], **{key: [1.0] for key in (*experiment.columns, *experiment.further)}}
            full.setdefault(row.experiment, {}).setdefault(row.method, {})[row.labels] = cell
    assert all(line[2] != tables.NOT_RUN for line in tables.goals(full).rows)
    assert all(line[2] == tables.NOT_RUN for line in tables.goals({}).rows)


def test_rooms_are_the_benchmark():
    options = {room: StudioOptions(**studio_benchmark.get_config(room).studio) for room in ("first", "other")}
    first, other = options["first"], options["other"]
    assert first.train_subjects == other.train_subjects == ("S1", "S5", "S6", "S7", "S8")
    assert first.seed != other.seed
    assert first.deal_seed == other.deal_seed
    assert len({room.images_sha256 for room in grid.ROOMS.values()}) == len(grid.ROOMS) == 4


def test_rows_of_keypoints_differ_in_what_they_are_named_for(trainings):
    """Every row of an experiment is a network of its own, and supervised rows alone see labels."""
    for experiment in (*keypoint_rows.LIFTING, *keypoint_rows.REFINEMENT):
        own = {name: found for name, found in trainings.items() if name[0] == experiment}
        assert len({found.key for found in own.values()}) == len(own) >= 1
        for (_, _, labels), found in own.items():
            is_supervised = found.settings.get("loss.supervision") == "joints"
            assert is_supervised == (labels == "all")
    placed = trainings[("lifting_losses", "own and other view, placed", "none")]
    for shared in (("lifting_cameras", "4", "none"), ("lifting_clips", "100 %", "none")):
        assert trainings[shared].key == placed.key
    hidden = trainings[("lifting_confidence", "source", "none")]
    assert hidden.settings == placed.settings
    assert hidden.key != placed.key  # another detector


def test_as_many_views_in_a_step_whatever_the_cameras(trainings):
    for count in (2, 3, 4):
        settings = trainings[("lifting_cameras", str(count), "none")].settings
        assert settings["data.num_views"] == count
        assert settings["batch_size"] == 256 // count
