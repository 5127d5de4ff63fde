"""Multiview-consistent semi-supervised learning of 3D human pose (Mitra et al., CVPR 2020)."""

import os

# On import TensorFlow reports a missing GPU at error level. What really fails raises anyway;
# TF_CPP_MIN_LOG_LEVEL=0 in the environment shows everything.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

__version__ = "0.1.0"
