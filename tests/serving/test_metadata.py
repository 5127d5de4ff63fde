"""What an export says about itself comes from the dataset of its run."""

from pathlib import Path

import pytest

from mcss_tf.errors import InputError
from mcss_tf.serving.metadata import describe_run
from mcss_tf.training.workdir import Run


def test_a_run_whose_dataset_has_been_moved(model, tmp_path: Path) -> None:
    run = Run(config=None, model=model, info={"dataset": {"path": str(tmp_path / "gone")}})
    with pytest.raises(
        InputError, match=r"joint names .* Received: a run on .*gone, which holds no dataset.json"
    ):
        describe_run(run)
