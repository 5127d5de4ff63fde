"""Skeletons, cameras, canonical poses and alignment."""
