import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from mcss_tf.ops import build, library

ROOT = Path(__file__).resolve().parents[2]
ENABLED = {**os.environ, "MCSS_TF_CUSTOM_OPS": "1"}


def fake_compiler(folder, body):
    """A compiler that notes each call in `calls` and then does `body`."""
    path = folder / "compiler"
    path.write_text(f'#!/bin/sh\necho "$@" >> {folder}/calls\n{body}\n')
    path.chmod(0o755)
    return path


WRITES_ITS_OUTPUT = """
while [ "$1" != "-o" ]; do shift; done
sleep 0.2
echo compiled > "$2"
"""


def run(program, env):
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, cwd=ROOT)


def test_two_processes_at_once_compile_once(tmp_path):
    compiler = fake_compiler(tmp_path, WRITES_ITS_OUTPUT)
    program = f"""
import importlib.util
from pathlib import Path
spec = importlib.util.spec_from_file_location("build", {str(build.__file__)!r})
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)
build.build_once(Path({str(tmp_path)!r}) / "cache" / "op.so", build.source_dir(), "include", with_cuda=False)
"""
    env = {**os.environ, "CXX": str(compiler)}
    processes = [subprocess.Popen([sys.executable, "-c", program], env=env) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    assert (tmp_path / "cache" / "op.so").read_text() == "compiled\n"
    assert len((tmp_path / "calls").read_text().splitlines()) == len(build.CPP_SOURCES) + 1  # and one link


def test_a_compiler_that_fails(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", str(fake_compiler(tmp_path, "echo 'error: no such thing' >&2; exit 1")))
    with pytest.raises(build.BuildError, match=r"try another with CXX.*\n.*no such thing"):
        build.build_once(tmp_path / "op.so", build.source_dir(), "include", with_cuda=False)
    assert not (tmp_path / "op.so").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls", "compiler", "op.lock"]


def test_nothing_is_tuned_to_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", str(fake_compiler(tmp_path, WRITES_ITS_OUTPUT)))
    build.build_once(tmp_path / "op.so", build.source_dir(), "include", with_cuda=False)
    calls = (tmp_path / "calls").read_text()
    assert "-march" not in calls
    assert "-mtune" not in calls


def test_the_name_changes_with_what_the_library_depends_on(tmp_path):
    for path in build.source_dir().glob("hardest_negatives*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    names = [
        build.library_name(tmp_path, *rest)
        for rest in [("2.21.0", False), ("2.21.1", False), ("2.21.0", True), ("2.21.0", False, "g++ 13")]
    ]
    with open(tmp_path / "hardest_negatives_tile.inc", "a") as file:
        file.write("// changed\n")
    names.append(build.library_name(tmp_path, "2.21.0", False))
    assert len(set(names)) == 5


def test_another_version_of_the_compiler_builds_anew(tmp_path, monkeypatch):
    body = 'if [ "$1" = "--version" ]; then cat {0}/version; exit; fi' + WRITES_ITS_OUTPUT
    monkeypatch.setenv("CXX", str(fake_compiler(tmp_path, body.format(tmp_path))))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = []
    for version in ("g++ 12", "g++ 13", "g++ 12"):
        (tmp_path / "version").write_text(version)
        found.append(library._find_or_build())
    assert found[0] == found[2] != found[1]
    assert len(list((tmp_path / "cache" / "mcss_tf").glob("*.so"))) == 2
    compiled = (tmp_path / "calls").read_text().count("-shared")
    assert compiled == 2  # the first is found again


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("CXX", "/nonexistent/g++", "no C.. compiler was found; install g.. .or set CXX to one"),
        ("XDG_CACHE_HOME", "/proc/nowhere", "No such file or directory"),
    ],
)
def test_one_warning_names_cause_and_remedy(tmp_path, monkeypatch, variable, value, message):
    monkeypatch.setenv("MCSS_TF_CUSTOM_OPS", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv(variable, value)
    with pytest.warns(
        RuntimeWarning, match=f"slower plain TensorFlow.*{message}.*MCSS_TF_CUSTOM_OPS=0"
    ) as warned:
        assert library.load.__wrapped__() is None
    assert len(warned) == 1


def test_switched_off_without_a_warning(monkeypatch):
    monkeypatch.setenv("MCSS_TF_CUSTOM_OPS", "0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert library.load.__wrapped__() is None


def test_importing_opens_nothing():
    if library.load() is None:
        pytest.skip("the compiled op is switched off or cannot be built here")
    program = """
from mcss_tf.ops import hardest_negatives, library
print("hardest_negatives-tf" in open("/proc/self/maps").read())
hardest_negatives([[0.0]], [[1.0]], 0.0)
print("hardest_negatives-tf" in open("/proc/self/maps").read())
"""
    assert run(program, ENABLED).stdout.split() == ["False", "True"]


@pytest.mark.slow
def test_an_installed_package_brings_its_library(tmp_path):
    if build.find_compiler() is None:
        pytest.skip("there is no C++ compiler")
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path / "base")]
    subprocess.run(
        [*command, "--build-lib", str(tmp_path / "lib")], cwd=ROOT, check=True, capture_output=True
    )
    program = f"""
import sys
sys.path.insert(0, {str(tmp_path / "lib")!r})
from mcss_tf.ops import library
print(library.load().path)
"""
    env = {**ENABLED, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    result = run(program, env)
    installed = Path(result.stdout.strip().splitlines()[-1])
    assert installed.parent == tmp_path / "lib" / "mcss_tf" / "kernels", result.stderr[-2000:]
    assert not (tmp_path / "cache" / "mcss_tf").exists()


@pytest.mark.slow
def test_the_cuda_handler_compiles_and_registers(tmp_path):
    if build.find_nvcc() is None:
        pytest.skip("there is no nvcc: the CUDA source is not compiled")
    program = f"""
import ctypes
from pathlib import Path
import numpy as np
import tensorflow as tf
from mcss_tf.ops import build, hardest_negatives, library
path = Path({str(tmp_path)!r}) / "op.so"
build.build_once(path, build.source_dir(), tf.sysconfig.get_include(), with_cuda=True)
registered = library._register(path)
library.load = lambda: registered
print(registered.has_cuda, hardest_negatives([[0.0], [3.0]], [[1.0], [5.0]], 0.0).anchor_distance.numpy())
"""
    result = run(program, ENABLED)
    assert result.stdout.strip().endswith("True [5. 2.]"), result.stderr[-3000:]
