"""Commands start without TensorFlow's chatter, and with it for those who ask."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("level", "is_quiet"), [(None, True), ("0", False)])
def test_what_an_entry_point_says_on_start(level, is_quiet):
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    if level is not None:
        environment["TF_CPP_MIN_LOG_LEVEL"] = level
    code = "import mcss_tf.startup, tensorflow, sys; print('still here', file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert ("oneDNN" not in done.stderr) is is_quiet
    assert done.stderr.endswith("still here\n"), "standard error is given back"
