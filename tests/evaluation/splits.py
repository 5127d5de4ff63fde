"""Embedded splits made by hand."""

import numpy as np

from mcss_tf.evaluation.embedded import EmbeddedSplit


def make_split(
    embedding,
    poses=None,
    *,
    camera,
    row,
    subject=None,
    sequence=None,
    time_s=None,
    has_pose=None,
    predicted=None,
) -> EmbeddedSplit:
    """Builds a split of N images; poses [N, J, 3] default to none at all."""
    embedding = np.asarray(embedding, np.float32)
    num = len(embedding)
    posed = np.full(num, poses is not None) if has_pose is None else np.asarray(has_pose)
    poses = np.zeros((num, 16, 3), np.float32) if poses is None else np.asarray(poses, np.float32)
    zeros = np.zeros(num, np.int32)
    row = np.asarray(row, np.int64)
    return EmbeddedSplit(
        embedding=embedding,
        predicted_mm=predicted,
        pose_mm=poses,
        pose_mask=np.repeat(posed[:, None], poses.shape[1], 1).astype(np.float32),
        has_pose=posed,
        row=row,
        subject=zeros if subject is None else np.asarray(subject, np.int32),
        sequence=zeros if sequence is None else np.asarray(sequence, np.int32),
        camera=np.asarray(camera, np.int32),
        frame=row,
        time_s=row / 10.0 if time_s is None else np.asarray(time_s, np.float64),
        action=np.full(num, "walking"),
    )


def random_split(seed=0, subjects=2, instants=5, cameras=3, joints=16) -> EmbeddedSplit:
    """Every camera sees every instant; embeddings and poses are random."""
    generator = np.random.default_rng(seed)
    num_rows = subjects * instants
    row, camera = (axis.ravel() for axis in np.mgrid[:num_rows, :cameras])
    return make_split(
        generator.normal(size=(len(row), 8)),
        (generator.normal(size=(num_rows, joints, 3)) * 300)[row],
        camera=camera,
        row=row,
        subject=row // instants,
        sequence=row // instants,
        predicted=(generator.normal(size=(len(row), joints, 3)) * 300).astype(np.float32),
    )
