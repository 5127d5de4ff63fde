"""The command line of retrieve: build, query by file and by id, and clear errors."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs import tiny
from mcss_tf import methods, retrieve
from mcss_tf.data.dataset import PreparedDataset
from mcss_tf.errors import InputError
from mcss_tf.retrieval.embedder import Embedder
from mcss_tf.retrieval.rows import Result, page_of_rows
from mcss_tf.retrieval.searching import DATABASES, Searcher
from mcss_tf.training.workdir import open_workdir
from tests.helpers import call

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mcss_tf.retrieve", *map(str, arguments)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def test_build_and_query(model: Path, dataset: PreparedDataset, tmp_path: Path) -> None:
    index, page = tmp_path / "index", tmp_path / "rows.html"
    built = run("build", f"--index={index}", f"--model={model}", f"--data={dataset.path}", "--kind=hnsw")
    assert built.returncode == 0, built.stderr
    assert f"wrote {index}: 72 images, kind hnsw" in built.stdout
    assert re.search(
        r"recall@10 against exact search: (0.9[5-9]\d|1.000) of 72 queries, with efSearch", built.stdout
    )
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(dataset.read_images([3], [1])[0])
    queried = run(
        "query", f"--index={index}", f"--query={photo},S3/walk0/2/cam0", "--k=3", f"--output={page}"
    )
    assert queried.returncode == 0, queried.stderr
    lines = queried.stdout.splitlines()
    # An image that is in the index finds itself.
    assert lines[0] == "photo.jpg: all images"
    subject = dataset.subjects[dataset.index.subject[3]]
    name = f"{subject}/walk0/{dataset.index.frame[3]}/cam1"
    assert re.fullmatch(rf"    1  0\.00\d\d  {name}", lines[1])
    assert "S3/walk0/2/cam0: other views, other people" in lines
    html = page.read_text()
    assert html.count("<figure") == 2 + 3 + 9
    assert not re.search(r"https?://", html)
    again = run("query", f"--index={index}", "--query=S3/walk0/2/cam0", f"--output={page}")
    assert again.returncode == 2
    assert again.stderr.splitlines()[-1].startswith("error: Results are never overwritten")
    assert "Traceback" not in again.stderr


def test_the_page_marks_the_same_instant(flat: Path, dataset: PreparedDataset) -> None:
    searcher = Searcher(flat)
    image = searcher.position("S1/walk0/5/cam0")
    found = {database: searcher.nearest_to(image, 80, database) for database in DATABASES}
    html = page_of_rows(searcher, [Result("S1/walk0/5/cam0", image, None, found)], "title")
    # Two other views of the instant, among all and among other views; never among other people.
    assert html.count('<figure class="hit">') == 4
    assert html.count('<figure class="query">') == 1
    people = html.split("other views, other people")[1]
    assert people.count("<figure") == 32
    assert "hit" not in people


def test_a_dataset_that_has_changed_is_not_shown(flat: Path) -> None:
    searcher = Searcher(flat)
    searcher.manifest["datasets"][0]["checksum"] = "of another"
    with pytest.raises(InputError, match=r"shown from the dataset that was indexed. Received: .*has changed"):
        page_of_rows(searcher, [Result("x", 0, None, {})], "title")


def test_a_run_embeds_as_its_model_does(tmp_path: Path, dataset: PreparedDataset) -> None:
    config = tiny.get_config()
    network = methods.get(config, dataset).build_model()
    open_workdir(tmp_path, config, dataset, []).save_model(network)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    embedder = Embedder(tmp_path)
    assert embedder.image_size == 32
    expected = network(images.astype("float32"), training=False)["embedding"]
    np.testing.assert_allclose(embedder(images), expected, atol=1e-5)
    np.testing.assert_allclose(embedder.photo(images[0])["embedding"], expected[0], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Commands are build, add, query. Received: none"),
        (["find"], "Received: find"),
        (["build", "--data=x"], "build takes --model. Received: --model=None --data=x"),
        (["add"], "add takes --data"),
        (
            ["build", "--model=m", "--data=d", "--splits=dev"],
            "Received: --splits=dev",
        ),
        (["query"], "query takes --query=FILE_OR_ID,... Received: none"),
        (["query", "--query=a"], "without index.json"),
    ],
)
def test_wrong_command_lines(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    positional = [a for a in arguments if not a.startswith("--")]
    flags = [a for a in arguments if a.startswith("--")]
    assert call(retrieve, [f"--index={tmp_path}", *flags], positional) == 2
    assert message in capsys.readouterr().err
