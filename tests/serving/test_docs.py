"""docs/serving.md says what is true."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mcss_tf.serving.signatures import markdown_table

DOCS = Path(__file__).resolve().parents[2] / "docs" / "serving.md"


def test_the_table_of_signatures_is_the_one_of_the_code() -> None:
    assert markdown_table() in DOCS.read_text()


def test_the_python_example_runs_and_prints_the_joints(
    export_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "mcss").symlink_to(export_folder)
    Image.fromarray(np.full((50, 40, 3), 120, np.uint8)).save(tmp_path / "person.jpg")
    monkeypatch.chdir(tmp_path)
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)
    names: dict = {}
    exec(example, names)
    assert names["embedding"].shape == (128,)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 16
    assert re.fullmatch(r"right_hip +-?\d+ +-?\d+ +-?\d+ mm", lines[0])
