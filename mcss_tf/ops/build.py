"""Compiles the op's shared library, at first use and for setup.py (so it imports nothing of the package)."""

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

CPP_SOURCES = ("hardest_negatives_cpu.cc", "hardest_negatives_ffi.cc")
CUDA_SOURCE = "hardest_negatives_cuda.cu.cc"
HEADERS = ("hardest_negatives.h", "hardest_negatives_tile.inc")

# Products and sums stay unfused where the code does not fuse them, so every processor rounds alike.
# Nothing is tuned to this machine: instruction sets are chosen at run time.
_CPP_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-Wno-psabi")
_CUDA_FLAGS = (
    *("-std=c++17", "-O3", "-Xcompiler", "-fPIC,-fvisibility=hidden"),
    *("-gencode", "arch=compute_80,code=sm_80"),
    *("-gencode", "arch=compute_90,code=[sm_90,compute_90]"),
)


class BuildError(RuntimeError):
    """The library cannot be built; the message says why and what to do."""


def source_dir() -> Path:
    """The kernels' sources: inside the installed package, or beside it in a checkout."""
    installed = Path(__file__).resolve().parents[1] / "kernels"
    return installed if installed.is_dir() else Path(__file__).resolve().parents[2] / "kernels"


def library_name(sources: Path, tensorflow_version: str, with_cuda: bool, compilers: str = "") -> str:
    """File name that changes with all the library depends on (sources, flags, TensorFlow, ...).

    An installed library is named without `compilers`: it runs where there are none, or others.
    """
    digest = hashlib.sha256(
        repr((_CPP_FLAGS, _CUDA_FLAGS, tensorflow_version, platform.machine(), with_cuda, compilers)).encode()
    )
    for name in (*HEADERS, *CPP_SOURCES, CUDA_SOURCE):
        digest.update((sources / name).read_bytes())
    return f"hardest_negatives-tf{tensorflow_version}-{digest.hexdigest()[:16]}.so"


def cache_dir() -> Path:
    """Where libraries built at first use are kept: `$XDG_CACHE_HOME/mcss_tf` or `~/.cache/mcss_tf`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcss_tf"


def build_once(library: Path, sources: Path, include_dir: str, with_cuda: bool) -> None:
    """Compiles `library` unless it is there; of several processes at once one compiles, the others wait."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with open(library.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel releases it even if this process is killed
        if not library.exists():
            compile_library(library, sources, include_dir, with_cuda)


def compile_library(library: Path, sources: Path, include_dir: str, with_cuda: bool) -> None:
    """Compiles the sources into `library`, which appears only when whole.

    Raises:
      BuildError: if there is no compiler or it fails.
    """
    compiler = find_compiler()
    if compiler is None:
        raise BuildError("no C++ compiler was found; install g++ (or set CXX to one)")
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        include = ["-I", str(sources.parent), "-isystem", include_dir]
        objects, link = [], [compiler, "-shared", "-o", f"{folder}/library.so"]
        define = ["-DMCSS_TF_WITH_CUDA"] if with_cuda else []
        for name in CPP_SOURCES:
            objects.append(f"{folder}/{name}.o")
            _run([compiler, *_CPP_FLAGS, *define, *include, "-c", str(sources / name), "-o", objects[-1]])
        if with_cuda:
            objects.append(f"{folder}/{CUDA_SOURCE}.o")
            cuda = [find_nvcc(), *_CUDA_FLAGS, "-ccbin", compiler, "-I", str(sources.parent)]
            _run([*cuda, "-x", "cu", "-c", str(sources / CUDA_SOURCE), "-o", objects[-1]])
            link = [find_nvcc(), "-ccbin", compiler, "-cudart", "static", *link[1:]]
        _run([*link, *objects])
        os.replace(f"{folder}/library.so", library)


def find_compiler() -> str | None:
    """Path of the C++ compiler: `$CXX`, else g++, clang++ or c++ on the path."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["g++", "clang++", "c++"]
    return next(filter(None, map(shutil.which, names)), None)


def find_nvcc() -> str | None:
    """Path of the CUDA compiler: on the path, in `$CUDA_HOME` or in /usr/local/cuda."""
    homes = [os.environ.get("CUDA_HOME"), "/usr/local/cuda"]
    return shutil.which("nvcc") or next(
        filter(None, (shutil.which(f"{home}/bin/nvcc") for home in homes if home)), None
    )


def compiler_versions(with_cuda: bool) -> str:
    """What the compilers that are found say of themselves: a new one is to build anew."""
    found = [find_compiler(), find_nvcc() if with_cuda else None]
    commands = [[path, "--version"] for path in found if path]
    return "".join(subprocess.run(command, capture_output=True, text=True).stdout for command in commands)


def _run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        command = " ".join(command)
        raise BuildError(
            f"the compiler failed; try another with CXX. Command: {command}\n{result.stderr[-2000:]}"
        )
