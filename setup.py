"""Installs mcss_tf."""

from setuptools import find_packages, setup

setup(
    name="mcss_tf",
    version="0.1.0",
    description="Multiview-consistent semi-supervised 3D human pose from synchronised, uncalibrated video.",
    python_requires=">=3.11,<3.14",
    packages=find_packages(include=["mcss_tf", "mcss_tf.*"]),
    install_requires=[
        "tensorflow>=2.21,<2.22",
        "keras>=3.12,<3.16",
        "numpy>=2.1,<2.5",
        "absl-py>=2.1,<3",
        "ml_collections>=1.0,<2",
        "av>=14,<19",
        "opencv-python-headless>=4.10,<6",
        "scipy>=1.14,<2",
        "pillow>=11,<13",
        "rich>=13.9,<16",
        "matplotlib>=3.9,<4",
        "scikit-learn>=1.5,<2",
        "tensorboard>=2.20,<2.22",
    ],
    extras_require={
        "gpu": ["tensorflow[and-cuda]>=2.21,<2.22"],
        # End of life: it imports only beside TensorFlow <= 2.15; see docs/dependencies.md.
        "addons": ["tensorflow-addons>=0.23; python_version < '3.12'"],
        "dev": ["pytest>=8.3,<10", "hypothesis>=6.120,<7", "ruff>=0.8,<1"],
    },
)
