"""Multiview-consistent semi-supervised learning of 3D human pose (Mitra et al., CVPR 2020)."""

__version__ = "0.1.0"
