"""Multiview-consistent semi-supervised learning of 3D human pose (Mitra et al., CVPR 2020)."""

import os

# TensorFlow reports a missing GPU at error level. What really fails raises anyway; whoever sets
# TF_CPP_MIN_LOG_LEVEL themselves (0 shows everything) gets what they ask for.
IS_QUIET = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3") == "3"

__version__ = "0.1.0"
