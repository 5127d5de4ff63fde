"""Installs mcss_tf."""

import importlib.util
import shutil
from pathlib import Path

from setuptools import Distribution, find_packages, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent


class BuildWithKernels(build_py):
    """Ships the op's C++ sources, and its library where TensorFlow is at hand.

    pip hides TensorFlow from a build unless told otherwise (--no-build-isolation): then the library is
    compiled from the same sources at first use.
    """

    def run(self):
        super().run()
        if self.editable_mode:
            return
        build = _load(HERE / "mcss_tf" / "ops" / "build.py")
        sources = Path(self.build_lib) / "mcss_tf" / "kernels"
        sources.mkdir(exist_ok=True)
        for name in (*build.HEADERS, *build.CPP_SOURCES, build.CUDA_SOURCE):
            shutil.copy2(HERE / "kernels" / name, sources)
        if _has_tensorflow():
            import tensorflow as tf

            library = sources / build.library_name(sources, tf.__version__, with_cuda=False)
            try:
                build.compile_library(library, sources, tf.sysconfig.get_include(), with_cuda=False)
            except build.BuildError as error:
                self.warn(f"The hardest_negatives op is left to be compiled at first use: {error}")


class DistributionWithLibrary(Distribution):
    """A wheel that holds a compiled library is bound to its platform."""

    def has_ext_modules(self):
        return _has_tensorflow()


def _has_tensorflow():
    return importlib.util.find_spec("tensorflow") is not None


def _load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


setup(
    cmdclass={"build_py": BuildWithKernels},
    distclass=DistributionWithLibrary,
    name="mcss_tf",
    version="0.1.0",
    description="Multiview-consistent semi-supervised 3D human pose from synchronised, uncalibrated video.",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["mcss_tf", "mcss_tf.*"]),
    package_data={"mcss_tf.retrieval": ["web.html"]},
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.15,<3.16",
        "numpy>=2.4,<2.5",
        "absl-py>=2.5,<3",
        "ml_collections>=1.1,<2",
        "av>=18,<19",
        "cdflib>=1.3,<1.4",
        "h5py>=3.14,<4",
        "matplotlib>=3.11,<4",
        "opencv-python-headless>=5.0,<5.1",
        "pillow>=12,<13",
        "rich>=15,<16",
        "scikit-learn>=1.9,<2",
        "safetensors>=0.8,<0.9",
        "scipy>=1.17,<2",
        "tensorboard>=2.21,<2.22",
    ],
    extras_require={
        "client": ["requests>=2.32,<3", "tensorflow-serving-api>=2.21,<2.22"],
        "onnx": ["onnx>=1.23,<2", "tf2onnx>=1.17,<2"],
        "retrieval": ["faiss-cpu>=1.15,<1.16"],
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        # End of life: it imports only beside TensorFlow <= 2.15; see docs/dependencies.md.
        "addons": ["tensorflow-addons>=0.23; python_version < '3.12'"],
        "beam": ["apache-beam>=2.77,<2.78"],
        "dev": [
            "pytest>=9,<10",
            "pytest-xdist>=3.8,<4",
            "hypothesis>=6.170,<7",
            "ruff>=0.17,<0.18",
            "faiss-cpu>=1.15,<1.16",
            "onnx>=1.23,<2",
            "onnxruntime>=1.31,<2",
            "pyyaml>=6,<7",
            "requests>=2.32,<3",
            "selenium>=4.51,<5",
            "tensorflow-serving-api>=2.21,<2.22",
            "tf2onnx>=1.17,<2",
        ],
    },
)
