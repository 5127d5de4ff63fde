"""Means, spreads and goals, by hand."""

import pytest

from mcss_tf.reproduction import tables

ERROR = "pose.n_mpjpe_mm"


def collected(baseline, mcss):
    cells = {
        name: {"S1": {"seeds": [0, 1], ERROR: values}}
        for name, values in (("Baseline", baseline), ("MCSS", mcss))
    }
    return {"table1": cells}


def goal(of, text):
    return next(row for row in tables.goals(of).rows if row[0].startswith(text))


def test_mean_and_standard_deviation():
    assert tables.show(ERROR, [100.0, 104.0]) == "102.0 ± 2.8"
    assert tables.show(ERROR, [100.0]) == "100.0"
    assert tables.show(ERROR, [None, 3.0]) == "3.0"
    assert tables.show(ERROR, []) == tables.show(ERROR, [None]) == "–"
    assert tables.show("sync.hit_at_1", [0.25, 0.35]) == "30.0 ± 7.1"
    assert tables.show("distances.same_view.rho", [0.712]) == "0.71"


def test_rows_that_were_not_run_or_stopped_say_so():
    of = collected([100.0, 104.0], [])
    of["table1"]["MCSS"]["S1"] = {"seeds": []}
    of["table1"]["Baseline"]["S1"]["stopped"] = {"2": "spread=0"}
    (table,) = tables.tables(of)
    assert table.rows[0] == ["Baseline", "S1", "102.0 ± 2.8", "–", "–", "2; 1 collapsed or diverged"]
    assert table.rows[1] == ["MCSS", "S1", "–", "–", "–", "not run"]


def test_gains_are_of_the_means():
    text = "MCSS below the baseline"
    assert goal(collected([100.0, 110.0], [70.0, 80.0]), text)[1:] == ["at least 25 %", "28.6 %", "yes"]
    assert goal(collected([100.0, 110.0], [80.0, 80.0]), text)[1:] == ["at least 25 %", "23.8 %", "no"]
    assert goal(collected([100.0], [120.0]), text)[2:] == ["-20.0 %", "no"]
    assert goal(collected([100.0], []), text)[2:] == ["not run", "–"]


def test_goals_from_above():
    of = {
        "retrieval": {
            "MCSS": {"S1": {"seeds": [0], "retrieval.cross.1.difference_mm": [30.0], "sync.hit_at_1": [0.6]}}
        }
    }
    assert goal(of, "cross-subject")[1:] == ["at most 30 mm", "30.0 mm", "yes"]
    assert goal(of, "same instant")[1:] == ["at least 60 %", "60.0 %", "yes"]


@pytest.mark.parametrize("tree", [None, {}, {"pose": None}, {"pose": {"n_mpjpe_mm": None}}])
def test_what_is_missing_is_none(tree):
    assert tables.look_up(tree, ERROR) is None
