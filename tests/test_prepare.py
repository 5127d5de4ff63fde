import hashlib
import json
import resource
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from mcss_tf import prepare
from mcss_tf.data import preparation
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.data.records import decode_instant
from mcss_tf.data.sources.recordings import RecordingsSource
from mcss_tf.data.sources.studio import StudioOptions, StudioSource
from tests.data import synthetic
from tests.helpers import call


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Three subjects, two cameras, 2 seconds at 10 frames per second; nothing in a test may change it."""
    root = tmp_path_factory.mktemp("recordings")
    sequences = ("S1/walk", "S2/walk", "S3/walk")
    return synthetic.write_recordings(root, sequences, has_clock=False)


def run(root, output, *arguments: str) -> int:
    """Runs the command line in this process; returns its exit status."""
    return call(prepare, ["--source=recordings", f"--input={root}", f"--output={output}", *arguments])


def quick(root, output, *arguments: str) -> int:
    return run(root, output, "--boxes=full", "--crop_size=32", "--workers=1", *arguments)


def error_of(capsys) -> str:
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    return printed.err


def test_dataset(recordings, tmp_path, capsys):
    assert run(recordings, tmp_path / "out", "--crop_size=32", "--workers=1", "--stride=2") == 0
    printed = capsys.readouterr().out
    assert "S1/walk: 2 cameras, 2.0 s, 5 instants/s, boxes from motion" in printed
    assert "train: 20 instants, 40 images of S1, S2" in printed
    assert "test: 10 instants, 20 images of S3" in printed
    dataset = PreparedDataset.load(tmp_path / "out", require=("train", "test"))
    dataset.verify()
    assert dataset.cameras == ["a", "b"]
    assert dataset.crop_size == 32
    assert dataset.metadata["counts"]["images"] == 60
    instant = decode_instant(dataset.read([3])[0])
    assert (instant["frame"], instant["time_s"]) == (6, pytest.approx(0.6))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"dataset.json", "index.npz", "records", "contact_sheet.png"}


def test_contact_sheet_shows_instants_by_cameras(recordings, tmp_path):
    quick(recordings, tmp_path / "out")
    sheet = cv2.imread(str(tmp_path / "out" / "contact_sheet.png"))
    # Three subjects with six instants each; two cameras of 160 pixels beside each other.
    assert sheet.shape == (3 * 6 * 178, 320, 3)
    yellow = (sheet.astype(int)[..., 2] > 150) & (sheet[..., 0] < 110)
    for row in range(18):
        cells = yellow[178 * row + 18 : 178 * (row + 1)]
        assert cells[:, :160].any()
        assert cells[:, 160:].any()


@pytest.mark.slow
def test_workers_write_the_same_bytes(recordings, tmp_path):
    """Two processes, in their own interpreter as users run it, against this one."""
    quick(recordings, tmp_path / "one")
    command = [sys.executable, "-m", "mcss_tf.prepare", "--source=recordings", f"--input={recordings}"]
    command += [f"--output={tmp_path / 'two'}", "--boxes=full", "--crop_size=32", "--workers=2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == 0, done.stderr
    one, two = ((tmp_path / name / "dataset.json").read_text() for name in ("one", "two"))
    assert one == two


def test_interrupted_run_goes_on_where_it_stopped(recordings, tmp_path, monkeypatch, capsys):
    whole = tmp_path / "whole"
    quick(recordings, whole)
    real, prepared = RecordingsSource.instants, []

    def instants(self, spec):
        prepared.append(spec.name)
        for number, instant in enumerate(real(self, spec)):
            if spec.name == "S2/walk" and number == 7 and prepared.count("S2/walk") == 1:
                raise KeyboardInterrupt
            yield instant

    monkeypatch.setattr(RecordingsSource, "instants", instants)
    with pytest.raises(KeyboardInterrupt):
        quick(recordings, tmp_path / "out")
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert len(list((tmp_path / "out" / "records").rglob("*"))) == 3  # S1, its shard, and S2 without any
    assert quick(recordings, tmp_path / "out", "--stride=2") == 2
    assert "same arguments. Received: other stride than before" in error_of(capsys)
    assert quick(recordings, tmp_path / "out") == 0
    assert prepared == ["S1/walk", "S2/walk", "S2/walk", "S3/walk"]
    assert (tmp_path / "out" / "dataset.json").read_text() == (whole / "dataset.json").read_text()


def test_damaged_shard_of_an_interrupted_run_is_written_again(recordings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(
            preparation, "finish_dataset", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            quick(recordings, tmp_path / "out")
    shard = tmp_path / "out" / "records" / "S2" / "walk.train.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-5])
    assert quick(recordings, tmp_path / "out") == 0
    PreparedDataset.load(tmp_path / "out").verify()


def test_finished_dataset_is_never_overwritten(recordings, tmp_path, capsys):
    quick(recordings, tmp_path / "out")
    before = (tmp_path / "out" / "dataset.json").read_bytes()
    assert quick(recordings, tmp_path / "out") == 2
    assert "never overwritten. Received: --output=" in error_of(capsys)
    assert (tmp_path / "out" / "dataset.json").read_bytes() == before


def test_output_with_other_things_in_it(recordings, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert quick(recordings, tmp_path) == 2
    assert "absent or empty. Received:" in error_of(capsys)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_output_and_input_lie_apart(recordings, capsys):
    for output in (recordings / "out", recordings, recordings.parent):
        assert quick(recordings, output) == 2
        assert "outside of --input" in error_of(capsys)


def test_input_is_missing(tmp_path, capsys):
    assert quick(tmp_path / "nowhere", tmp_path / "out") == 2
    assert "nowhere, which is no folder" in error_of(capsys)
    assert not (tmp_path / "out").exists()


def test_one_camera_sees_nobody(tmp_path, capsys):
    root = synthetic.write_recordings(tmp_path / "in", has_clock=False)
    synthetic.write_video(root / "S1" / "walk" / "b.mp4", has_body=False, has_clock=False)
    assert run(root, tmp_path / "out", "--boxes=motion", "--workers=1") == 2
    assert "no person in any frame of" in error_of(capsys)
    assert not (tmp_path / "out" / "dataset.json").exists()


def test_split_without_instants(tmp_path, capsys):
    root = synthetic.write_recordings(tmp_path / "in", duration_s=2.0)
    assert quick(root, tmp_path / "out", "--stride=18") == 0
    assert quick(root, tmp_path / "none", "--stride=20") == 2
    assert "Both splits must have instants. Received: 1 train and 0 test" in error_of(capsys)
    assert not (tmp_path / "none" / "dataset.json").exists()


def test_full_disk_while_writing_a_shard(recordings, tmp_path):
    """No file may grow beyond 20 kB: the first shard breaks, nothing half-written stays, a retry succeeds."""
    command = [sys.executable, "-m", "mcss_tf.prepare", "--source=recordings", f"--input={recordings}"]
    command += [f"--output={tmp_path / 'out'}", "--boxes=full", "--crop_size=64", "--workers=1"]

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, preexec_fn=limit, check=False)
    assert done.returncode == 2, done.stderr
    assert "must fit on the disk" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "out" / "records").rglob("*.tfrecord*"))
    assert not (tmp_path / "out" / "dataset.json").exists()
    assert run(recordings, tmp_path / "out", "--boxes=full", "--crop_size=64", "--workers=1") == 0


def test_full_disk_while_finishing(recordings, tmp_path, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(preparation, "finish_dataset", full)
        assert quick(recordings, tmp_path / "out") == 2
    assert "fit on the disk" in error_of(capsys)
    assert quick(recordings, tmp_path / "out") == 0


@pytest.mark.slow
def test_an_error_in_one_process_keeps_what_others_finished(tmp_path):
    """Of six sequences the second has a camera that sees nobody."""
    names = tuple(f"S{number}/walk" for number in range(1, 7))
    root = synthetic.write_recordings(tmp_path / "in", names, has_clock=False)
    synthetic.write_video(root / "S2" / "walk" / "b.mp4", has_body=False, has_clock=False)
    command = [sys.executable, "-m", "mcss_tf.prepare", "--source=recordings", f"--input={root}"]
    command += [f"--output={tmp_path / 'out'}", "--boxes=motion", "--crop_size=32", "--workers=2"]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=300, check=False)
    assert done.returncode == 2, done.stdout
    assert "no person in any frame of" in done.stderr
    finished = {path.parent.name for path in (tmp_path / "out").rglob("walk.pickle")}
    assert "S1" in finished
    assert "S2" not in finished


def test_studio(tmp_path, capsys):
    config = tmp_path / "config.py"
    config.write_text(
        "from ml_collections import ConfigDict\n\ndef get_config():\n"
        "    studio = dict(train_subjects=('S1',), test_subjects=('S9',), num_cameras=2, crop_size=32,\n"
        "                  num_train_instants=6, num_test_instants=3, motion='absent.npz',\n"
        "                  motion_is_optional=True)\n"
        "    return ConfigDict({'studio': studio})\n"
    )
    command = [sys.executable, "-m", "mcss_tf.prepare", "--source=studio", f"--config={config}"]
    command += [f"--output={tmp_path / 'out'}", "--config.studio.num_train_instants=8", "--workers=1"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False)
    assert done.returncode == 0, done.stderr
    dataset = PreparedDataset.load(tmp_path / "out", require=("train", "test"))
    assert dataset.crop_size == 32
    assert dataset.metadata["source"] == "studio"
    assert {name: split["num_instants"] for name, split in dataset.metadata["splits"].items()} == {
        "train": 8,
        "test": 3,
    }
    assert dataset.index.has_pose.all()
    assert set(dataset.calibration(0)) == set(dataset.cameras)
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["counts"]["images"] == 22
    assert "note: NO MOTION CAPTURE at absent.npz" in " ".join(done.stdout.split())
    assert "NO MOTION CAPTURE" in dataset.metadata["notes"][0]
    assert f"checksum of the crops {dataset.metadata['images_sha256']}" in done.stdout
    # The checksum is of the pixels, sequence by sequence: rendered again, they are the same.
    studio = {"train_subjects": ("S1",), "test_subjects": ("S9",), "num_cameras": 2, "crop_size": 32}
    source = StudioSource(StudioOptions(**studio, num_train_instants=8, num_test_instants=3))
    sums = [
        hashlib.sha256(b"".join(i.tobytes() for instant in source.instants(spec) for i in instant.images))
        for spec in sorted(source.sequences(), key=lambda spec: (int(spec.subject[1:]), spec.sequence))
    ]
    together = hashlib.sha256("".join(one.hexdigest() for one in sums).encode()).hexdigest()
    assert dataset.metadata["images_sha256"] == together
