"""Losses on embeddings and poses; offered here by name: tensorflow-addons' metric losses, on Keras 3."""

from mcss_tf.losses.contrastive_pair import ContrastiveLoss, contrastive_loss
from mcss_tf.losses.lifted import LiftedStructLoss, lifted_struct_loss
from mcss_tf.losses.pairwise import angular_distance, pairwise_distance
from mcss_tf.losses.triplet import (
    TripletHardLoss,
    TripletSemiHardLoss,
    triplet_hard_loss,
    triplet_semihard_loss,
)

__all__ = [
    "ContrastiveLoss",
    "LiftedStructLoss",
    "TripletHardLoss",
    "TripletSemiHardLoss",
    "angular_distance",
    "contrastive_loss",
    "lifted_struct_loss",
    "pairwise_distance",
    "triplet_hard_loss",
    "triplet_semihard_loss",
]
