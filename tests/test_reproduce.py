"""The whole command on a tiny grid: results, cache, resuming, changed settings, partial reports."""

import json
import signal

import pytest

from mcss_tf import reproduce
from mcss_tf.reproduction import grid, runner
from mcss_tf.reproduction.grid import Room, Row
from mcss_tf.reproduction.trainings import Results, training_of
from mcss_tf.training.logs import Logs
from tests.helpers import call

pytestmark = pytest.mark.slow

TINY = {"labels.subjects": "S1", "train.steps": 4, "train.checkpoint_every": 2, "validation.subjects": "S5"}
BASELINE = Row("table1", "Baseline", "S1", "tiny", TINY | {"loss.metric_weight": 0.0})
MCSS = Row("table1", "MCSS", "S1", "tiny", TINY)
TUNED = {"labels.subjects": "none", "train.steps": 2}
COLLAPSING = TINY | {"loss.collapse_spread": 10.0, "train.collapse_steps": 2}
# Every kind of row: shared networks, another room, going on from another, validation, and one that collapses.
BLOCKS = [
    [BASELINE, MCSS],
    [Row("fig3", "Baseline", "S1", "tiny", BASELINE.changes), Row("fig3", "MCSS", "S1", "tiny", TINY)],
    [Row("retrieval", "MCSS", "S1", "tiny", TINY), Row("distances", "MCSS", "S1", "tiny", TINY)],
    [Row("maps", "MCSS", "S1", "tiny", TINY, measured="pictures", max_seeds=1)],
    [
        Row("cross_dataset", "MCSS, before", "S1", "tiny", TINY, measured="test@other"),
        Row("cross_dataset", "MCSS, after", "S1", "tiny", TUNED, room="other", start=MCSS),
    ],
    [Row("ablation_margin", "1", "S1", "tiny", TINY, "validation", max_seeds=1)],
    [Row("ablation_threshold", "0", "S1", "tiny", COLLAPSING, "validation")],
]  # fmt: skip
STUDIO = """
from ml_collections import ConfigDict

def get_config(seed="0"):
    return ConfigDict({"studio": dict(
        seed=int(seed), train_subjects=("S1", "S5"), test_subjects=("S9", "S11"), num_cameras=3, crop_size=32,
        num_train_instants=16, num_test_instants=10, frame_size=(128, 128))})
"""


@pytest.fixture(scope="module")
def tiny_grid(tmp_path_factory):
    """Puts a tiny grid and tiny rooms in the place of the real ones."""
    config = tmp_path_factory.mktemp("config") / "studio.py"
    config.write_text(STUDIO)
    rooms = {
        name: Room(name, ("--source=studio", f"--config={config}:{seed}", "--workers=1"), "unknown")
        for seed, name in enumerate(("first", "other"))
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(grid, "blocks", lambda: BLOCKS)
        patch.setattr(grid, "rows", lambda: [row for block in BLOCKS for row in block])
        patch.setattr(grid, "ROOMS", rooms)
        yield


def run(output, *arguments: str) -> int:
    """Runs the command line in this process; returns its exit status."""
    return call(reproduce, [f"--output={output}", *arguments])


@pytest.fixture(scope="module")
def finished(tiny_grid, tmp_path_factory):
    """A finished grid of one seed."""
    output = tmp_path_factory.mktemp("reproduce") / "out"
    assert run(output, "--seeds=0") == 0
    return output


def load(folder):
    return {
        path.name: json.loads(path.read_text()) for path in (folder / "results" / "benchmark").glob("*.json")
    }


def test_one_json_per_network_says_what_it_is(finished):
    results = load(finished)
    assert len(results) == 4
    result = results["table1-mcss-s1.0.json"]
    assert {"test", "test@other", "pictures", "validation"} == set(result["metrics"])
    assert result["rows"][0] == ["table1", "MCSS", "S1"]
    assert result["changes"] == TINY | {"seed": 0}
    assert result["settings"]["loss.margin"] == 1.0
    assert result["command"].startswith("python -m mcss_tf.train --config=configs/tiny.py --config.labels")
    pose = result["metrics"]["test"]["pose"]
    assert sum(pose["per_joint_mm"]) / 16 == pytest.approx(pose["mpjpe_mm"], rel=1e-4)
    assert result["seconds"]["training"] > 0
    assert len(result["images_sha256"]) == 64
    stopped = results["ablation-threshold-0-s1.0.json"]
    assert "spread" in stopped["stopped"]
    assert stopped["metrics"] == {}
    assert results["cross-dataset-mcss-after-s1.0.json"]["start"] is not None


def test_tables_hold_the_numbers_of_the_runs(finished):
    collected = json.loads((finished / "results.json").read_text())
    by_name = load(finished)
    measured = by_name["table1-mcss-s1.0.json"]["metrics"]
    cell = collected["table1"]["MCSS"]["S1"]
    assert cell["seeds"] == [0]
    assert cell["pose.n_mpjpe_mm"] == [measured["test"]["pose"]["n_mpjpe_mm"]]
    assert collected["cross_dataset"]["MCSS, before"]["S1"]["pose.n_mpjpe_mm"] == [
        measured["test@other"]["pose"]["n_mpjpe_mm"]
    ]
    hits = measured["test"]["sync"]["hit_at_1"]
    text = (finished / "results.md").read_text()
    assert f"| MCSS | S1 | {measured['test']['pose']['n_mpjpe_mm']:.1f} |" in text
    assert f"| {100 * hits:.1f} |" in text
    assert "1 collapsed or diverged" in text
    baseline = by_name["table1-baseline-s1.0.json"]["metrics"]["test"]["pose"]["n_mpjpe_mm"]
    gain = 100 * (1 - measured["test"]["pose"]["n_mpjpe_mm"] / baseline)
    assert f"| at least 25 % | {gain:.1f} % |" in text
    assert "| canonical targets below global ones, N-MPJPE | at least 25 % | not run | – |" in text
    page = (finished / "results.html").read_text()
    assert page.count("data:image/png") == len(list((finished / "results").rglob("*.png"))) >= 6


def test_every_figure_has_its_numbers(finished):
    folder = finished / "results" / "benchmark" / "figures"
    names = {path.stem for path in folder.glob("*.png")}
    assert {"labels", "retrieval_same", "retrieval_cross", "distances", "matrix", "retrieval_rows"} <= names
    assert names == {path.stem for path in folder.glob("*.csv")}
    lines = (folder / "retrieval_cross.csv").read_text().splitlines()
    metrics = load(finished)["table1-mcss-s1.0.json"]["metrics"]["test"]["retrieval"]["cross"]
    assert lines[1].split(",")[-3:] == ["1", str(metrics["1"]["model_mm"]), "0.0"]
    assert len(lines) == 1 + 2 * 20


def test_a_finished_grid_trains_nothing_even_without_workdirs(finished, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(runner.Runner, "run", None)
    for room in ("first", "other"):
        (tmp_path / room).symlink_to(finished / room)
    (tmp_path / "results").symlink_to(finished / "results")
    assert run(tmp_path, "--seeds=0") == 0
    assert "4 networks, 4 of them finished" in capsys.readouterr().out
    assert json.loads((tmp_path / "results.json").read_text()) == json.loads(
        (finished / "results.json").read_text()
    )


def test_only_what_was_run_is_reported_and_hand_written_text_is_kept(finished, tmp_path, capsys):
    (tmp_path / "results.md").write_text("# Mine\n\nWhat was tried.\n")
    for room in ("first", "other"):
        (tmp_path / room).symlink_to(finished / room)
    assert run(tmp_path, "--report", "--seeds=0,1") == 0
    text = (tmp_path / "results.md").read_text()
    assert text.startswith("# Mine\n\nWhat was tried.\n")
    assert text.count("| not run |") >= len(grid.rows()) - 1
    assert run(tmp_path, "--report") == 0
    again = (tmp_path / "results.md").read_text()
    printed = capsys.readouterr().out
    assert "not shown" not in printed
    assert "networks, 0 of them finished" in printed
    assert again.count("What was tried.") == 1
    assert again.count("0 networks trained") == 1


def test_an_interrupted_network_goes_on_and_ends_alike(finished, tmp_path, monkeypatch):
    first = f"--first={finished / 'first'}"
    advance, seen = Logs.advance, []

    def stop_at_third(logs):
        seen.append(1)
        if len(seen) == 3:
            signal.raise_signal(signal.SIGTERM)
        advance(logs)

    monkeypatch.setattr(Logs, "advance", stop_at_third)
    with pytest.raises(SystemExit):
        run(tmp_path, "--seeds=0", "--only=fig3", first)
    assert load(tmp_path) == {}
    # Another row asks for the same network.
    monkeypatch.setattr(grid, "blocks", lambda: [[BASELINE]])
    assert run(tmp_path, "--seeds=0", first) == 0
    assert len(seen) == 4  # three steps before, one after
    (result,) = load(tmp_path).values()
    expected = load(finished)["table1-baseline-s1.0.json"]
    assert result["metrics"] == expected["metrics"]


def test_a_network_is_known_by_its_settings(finished):
    results = Results(finished / "results" / "benchmark")
    checksums = {
        room: json.loads((finished / room / "dataset.json").read_text())["images_sha256"]
        for room in ("first", "other")
    }
    assert results.find(training_of(MCSS, 0, checksums)) is not None
    assert results.find(training_of(MCSS, 1, checksums)) is None
    others = results.of_other_settings([training_of(row, 0, checksums) for row in (MCSS, BASELINE)])
    assert "table1-mcss-s1.0.json" not in others
    assert len(others) == 2
    changed = Row("table1", "MCSS", "S1", "tiny", TINY | {"loss.margin": 0.5})
    assert results.find(training_of(changed, 0, checksums)) is None
    assert results.find(training_of(MCSS, 0, checksums | {"first": "other pixels"})) is None
    # An option that came later and has its default changes nothing; one that has another value does.
    found = results.find(training_of(MCSS, 0, checksums))
    del found["settings"]["batch.subjects"]
    fresh = Results(finished / "results" / "benchmark")
    fresh._found = {"only": found}
    assert fresh.find(training_of(MCSS, 0, checksums)) is found
    mixed = Row("table1", "MCSS", "S1", "tiny", TINY | {"batch.subjects": "mixed"})
    assert fresh.find(training_of(mixed, 0, checksums)) is None


def test_results_of_another_network_are_never_overwritten(finished, tmp_path):
    checksums = {"first": "a", "other": "b"}
    results = Results(tmp_path)
    changed = Row("table1", "MCSS", "S1", "tiny", TINY | {"loss.margin": 0.5})
    for number, row in enumerate((MCSS, changed, changed)):
        training = training_of(row, 0, checksums)
        content = {"settings": training.settings, "images_sha256": "a", "start": None, "number": number}
        results.write(training, content)
    assert sorted(json.loads(path.read_text())["number"] for path in tmp_path.iterdir()) == [0, 2]


def test_errors(tiny_grid, tmp_path, capsys, monkeypatch):
    assert run(tmp_path, "--only=table1,table9") == 2
    assert "--only names experiments: table1, " in (error := capsys.readouterr().err)
    assert "Received: table9." in error
    for seeds in ("0,x", "1,1", ""):
        assert run(tmp_path, f"--seeds={seeds}") == 2
        assert "--seeds are different whole numbers. Received: " in capsys.readouterr().err
    wrong = Row("table1", "MCSS", "S1", "tiny", {"loss.margins": 1.0})
    monkeypatch.setattr(grid, "blocks", lambda: [[wrong]])
    (tmp_path / "first").mkdir()
    assert run(tmp_path, "--report") == 2
    error = capsys.readouterr().err
    assert "changes settings of configs/tiny.py. Received: " in error
    assert "table1, MCSS, S1. Correct the row." in error


def test_an_error_of_prepare_is_told(tiny_grid, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(grid, "ROOMS", {"first": Room("first", ("--source=studio", "--config=no.py"), "")})
    assert run(tmp_path, "--only=table1") == 2
    assert "must be rendered first. Received: an error of prepare" in capsys.readouterr().err
