"""Who moves how: no clip is shared, every take is reproducible."""

import dataclasses
import pickle

import numpy as np
import pytest

from mcss_tf.errors import InputError
from mcss_tf.studio import mocap
from mcss_tf.studio.motion import STAGE_RADIUS, mocap_takes, procedural_takes


def test_procedural_instants_are_shared_out_among_actions():
    takes = procedural_takes(0, "S1", 103, 5.0)
    assert sum(take.num_instants for take in takes) == 103
    assert len({take.action for take in takes}) == len(takes) == 10
    assert [take.num_instants for take in procedural_takes(0, "S1", 3, 5.0)] == [3]


def test_subjects_perform_the_same_action_differently():
    clips = []
    for subject in ("S1", "S9"):
        take = next(t for t in procedural_takes(0, subject, 320, 5.0) if t.action == "walking")
        clips.append(take.clip_of())
    assert np.abs(clips[0].directions - clips[1].directions).max() > 0.3


def test_a_take_is_the_same_in_any_process_and_stays_on_the_stage():
    take = procedural_takes(4, "S6", 40, 5.0)[2]
    first, second = take.clip_of(), pickle.loads(pickle.dumps(take)).clip_of()
    np.testing.assert_array_equal(first.directions, second.directions)
    assert first.num_frames == take.num_instants
    assert np.linalg.norm(first.root_xy, axis=-1).max() <= STAGE_RADIUS + 1e-9
    other = dataclasses.replace(take, seed=(5,)).clip_of()
    assert np.abs(first.directions - other.directions).max() > 0.3


def test_motion_capture_is_dealt_without_sharing(cmu_mocap):
    wished = {"S1": 200, "S5": 200, "S9": 100}
    takes = mocap_takes(0, wished, cmu_mocap / "cmu_bvh_30hz.npz", 5.0)
    owner = {take.clip: subject for subject in takes for take in takes[subject]}
    assert sum(map(len, takes.values())) == len(owner)
    for subject, count in wished.items():
        assert sum(take.num_instants for take in takes[subject]) == count
    for clip in owner:
        partner = f"salsa_{int(clip[-2:]) + 15:02d}"
        if clip.startswith("salsa") and partner in owner:
            assert owner[clip] == owner[partner]
    # No clip is left over.
    everything = mocap_takes(0, dict.fromkeys(wished, 10**6), cmu_mocap / "cmu_bvh_30hz.npz", 5.0)
    assert sum(map(len, everything.values())) == 43
    again = mocap_takes(0, wished, cmu_mocap / "cmu_bvh_30hz.npz", 5.0)
    assert takes == again
    assert takes != mocap_takes(1, wished, cmu_mocap / "cmu_bvh_30hz.npz", 5.0)
    take = takes["S9"][0]
    assert take.clip_of().num_frames == take.num_instants


def test_every_subject_gets_every_kind_of_action(cmu_mocap):
    wished = dict.fromkeys(["S1", "S5", "S6", "S7", "S8"], 1300) | dict.fromkeys(["S9", "S11"], 400)
    motion = cmu_mocap / "cmu_bvh_30hz.npz"
    takes = mocap_takes(0, wished, motion, 10.0, by_action=True, deal_seed=3)
    clips = [take.clip for subject in takes for take in takes[subject]]
    assert len(clips) == len(set(clips)) == 43
    owner = {take.clip: subject for subject in takes for take in takes[subject]}
    assert all(owner[f"salsa_{n:02d}"] == owner[f"salsa_{n + 15:02d}"] for n in range(1, 16) if n != 8)
    for subject in takes:
        assert {take.action for take in takes[subject]} == {"indian", "martial", "salsa"}
        if wished[subject] == 1300:
            assert sum(take.num_instants for take in takes[subject]) >= 1000
    # Another studio with the same deal keeps everybody's clips, not their windows and headings.
    elsewhere = mocap_takes(1, wished, motion, 5.0, by_action=True, deal_seed=3)
    assert {s: {t.clip for t in elsewhere[s]} for s in wished} == {
        s: {t.clip for t in takes[s]} for s in wished
    }
    assert elsewhere["S1"][0].seed != takes["S1"][0].seed


def test_more_instants_than_there_are_use_the_whole_clips(cmu_mocap):
    takes = mocap_takes(0, {"S1": 10**6}, cmu_mocap / "bvh" / "martial_04.bvh", 30.0)
    lengths = mocap.clip_lengths_s(cmu_mocap / "bvh" / "martial_04.bvh")
    (take,) = takes["S1"]
    assert (take.action, take.num_instants) == ("martial", int(lengths["martial_04"] * 30))
    assert take.clip_of().num_frames == take.num_instants


def test_too_few_clips(cmu_mocap):
    wished = dict.fromkeys(["S1", "S5", "S9"], 10)
    message = r"at least one recording per subject.*Received: 2 recordings for 3 subjects.*Give more clips"
    with pytest.raises(InputError, match=message):
        mocap_takes(0, wished, cmu_mocap / "bvh", 5.0)
