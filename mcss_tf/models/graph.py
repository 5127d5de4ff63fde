"""CV-UGCN: a U-shaped graph network that refines triangulated poses (Hua et al. 2021)."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from mcss_tf.geometry.body_graph import KERNELS, body_parts, kernels
from mcss_tf.geometry.skeleton import Skeleton
from mcss_tf.models.evidence import Evidence
from mcss_tf.models.triangulation import CoarsePoses

# The network's last layer gives decimetres: its first steps then move joints by millimetres.
_RESIDUAL_MM = 100.0
# Inputs further from the mean are outliers of triangulation; the network must not follow them.
_MAX_STANDARDISED = 5.0
WIDTHS = (128, 256, 512)


@keras.saving.register_keras_serializable("mcss_tf")
class GraphConvolution(layers.Layer):
    """Z = sum_k D_k^-1/2 A_k D_k^-1/2 H W_k + b over the nodes of all views.

    Args:
        filters: channels of Z.
        skeleton: as `Skeleton.to_json` gives it.
        level: of the nodes: "joints", "parts" or "body".
        kernel_names: which of `body_graph.KERNELS`; those without an edge at this level have no weights.

    Hua et al. 2021, section 3.3.
    """

    def __init__(
        self, filters: int, skeleton: dict[str, Any], level: str, kernel_names: Sequence[str], **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.filters, self.skeleton, self.level = filters, dict(skeleton), level
        self.kernel_names = tuple(kernel_names)

    def build(self, input_shape: Any) -> None:
        _, num_views, num_nodes, channels = input_shape
        found = kernels(Skeleton.from_json(self.skeleton), self.level, num_views)
        used = [found[name] for name in self.kernel_names if name in found]
        self._num_nodes = num_views * num_nodes
        # [N K, N]: one product collects the neighbours of every kernel, side by side for each node.
        self.neighbours = np.stack(used, axis=1).reshape(-1, self._num_nodes)
        self.kernel = self.add_weight(shape=(len(used) * channels, self.filters), name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x: Any) -> Any:
        _, num_views, num_nodes, channels = x.shape
        x = ops.reshape(x, (-1, self._num_nodes, channels))
        x = ops.matmul(ops.cast(self.neighbours, x.dtype), x)
        x = ops.reshape(x, (-1, self.kernel.shape[0]))
        x = ops.matmul(x, self.kernel) + self.bias
        return ops.reshape(x, (-1, num_views, num_nodes, self.filters))

    def get_config(self) -> dict[str, Any]:
        own = ("filters", "skeleton", "level", "kernel_names")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


@keras.saving.register_keras_serializable("mcss_tf")
class PoolParts(layers.Layer):
    """Takes the maximum over the nodes of every group: [B, V, n, C] to [B, V, groups, C]."""

    def __init__(self, groups: Sequence[Sequence[int]], **kwargs: Any):
        super().__init__(**kwargs)
        self.groups = [list(group) for group in groups]

    def call(self, x: Any) -> Any:
        pooled = [ops.max(ops.take(x, np.array(group), axis=2), axis=2) for group in self.groups]
        return ops.stack(pooled, axis=2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("mcss_tf")
class UnpoolParts(layers.Layer):
    """Gives every node what its group has: [B, V, groups, C] to [B, V, n, C]."""

    def __init__(self, groups: Sequence[Sequence[int]], **kwargs: Any):
        super().__init__(**kwargs)
        self.groups = [list(group) for group in groups]

    def call(self, x: Any) -> Any:
        group_of = {node: number for number, group in enumerate(self.groups) for node in group}
        return ops.take(x, np.array([group_of[node] for node in sorted(group_of)]), axis=2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("mcss_tf")
class StandardisedPose(layers.Layer):
    """Brings poses in millimetres to six numbers of about 1 a joint: from the pose's centre, and the centre.

    The centre is the median over the joints, coordinate by coordinate: less noisy than any joint, and blind
    to triangulations gone wrong. Mean and standard deviation are weights and travel with the model.
    """

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def build(self, input_shape: Any) -> None:
        shape = (input_shape[2], 2 * input_shape[3])
        self.mean_mm = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean_mm")
        self.std_mm = self.add_weight(shape=shape, initializer="ones", trainable=False, name="std_mm")

    def call(self, pose_mm: Any) -> Any:
        standardised = (self.from_centre(pose_mm) - self.mean_mm) / self.std_mm
        return ops.clip(standardised, -_MAX_STANDARDISED, _MAX_STANDARDISED)

    def from_centre(self, pose_mm: Any) -> Any:
        """Returns [B, V, J, 6]: joints [B, V, J, 3] relative to their centre, and the centre."""
        num_joints = pose_mm.shape[2]
        centre = ops.sort(pose_mm, axis=2)[:, :, num_joints // 2 : num_joints // 2 + 1]
        return ops.concatenate([pose_mm - centre, ops.broadcast_to(centre, ops.shape(pose_mm))], axis=-1)

    def adapt(self, pose_mm: np.ndarray) -> None:
        """Sets mean and standard deviation, robustly, from poses [B, V, J, 3] of the training views."""
        values = ops.convert_to_numpy(self.from_centre(ops.convert_to_tensor(pose_mm)))
        # 16th to 84th percentile: two standard deviations, whatever single triangulations do.
        low, middle, high = np.percentile(values, (16, 50, 84), axis=(0, 1))
        self.mean_mm.assign(middle)
        self.std_mm.assign(np.maximum((high - low) / 2, 1.0))


@keras.saving.register_keras_serializable("mcss_tf")
class AddResidual(layers.Layer):
    """Adds the network's correction, in decimetres, to a pose in millimetres."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{**kwargs, "dtype": "float32"})

    def call(self, pose_mm: Any, residual: Any) -> Any:
        return pose_mm + _RESIDUAL_MM * ops.cast(residual, "float32")


def build_refinement_model(
    skeleton: Skeleton,
    *,
    num_views: int = 2,
    widths: Sequence[int] = WIDTHS,
    is_weighted: bool = False,
    has_cross_view: bool = True,
    has_pooling: bool = True,
    has_evidence: bool = True,
    batch_norm_momentum: float = 0.9,
) -> keras.Model:
    """Builds CV-UGCN: triangulation, S-GCNs within views, M-GCNs across them, U-shape over the body's parts.

    S-GCN(3,w0), S-GCN(w0,w0), M-GCN(w0,w1) = skip 1; to parts, M-GCN(w1,w2), M-GCN(w2,w2) = skip 2; to the
    body, M-GCN(w2,w2) twice; to parts, M-GCN(w2,w2), with skip 2, FC(2 w2,w1); to joints, with skip 1,
    FC(2 w1,3), which starts at zero. Sizes are the paper's but for the M-GCN on the way up, which is ours:
    kernels without an edge have no weights here, and with it the network comes to the paper's size,
    4.8 million.

    Args:
        skeleton: of J joints.
        num_views: V, two or more.
        widths: w0, w1, w2.
        is_weighted: whether confidences weigh the triangulation.
        has_cross_view: whether nodes see the same node in other views.
        has_pooling: whether the U-shape pools; else all layers work on joints.
        has_evidence: whether the network also sees by how much the triangulation misses the keypoints, and
            their confidences; else poses alone, as in the paper.
        batch_norm_momentum: of the moving statistics.

    Returns:
        Model from `rays` [B, V, J, 2], `confidence` [B, V, J], `rotation` [B, V, 3, 3], `translation_mm`
        [B, V, 3] to `coarse_mm`, the triangulation, and `refined_mm`, both [B, V, J, 3], each view's in its
        camera's frame.
    """
    num_joints = skeleton.num_joints
    inputs = {
        "rays": keras.Input((num_views, num_joints, 2), name="rays"),
        "confidence": keras.Input((num_views, num_joints), name="confidence"),
        "rotation": keras.Input((num_views, 3, 3), name="rotation"),
        "translation_mm": keras.Input((num_views, 3), name="translation_mm"),
    }
    coarse = CoarsePoses(is_weighted, name="coarse_mm")(inputs)
    across = tuple(name for name in KERNELS if has_cross_view or name != "cross_view")
    within = tuple(name for name in KERNELS if name != "cross_view")
    parts = body_parts(skeleton) if has_pooling else tuple((joint,) for joint in range(num_joints))
    body = (tuple(range(len(parts))),) if has_pooling else parts
    levels = ("joints", "parts", "body") if has_pooling else ("joints",) * 3
    description = skeleton.to_json()

    def block(x: Any, filters: int, level: int, names: Sequence[str], name: str) -> Any:
        x = GraphConvolution(filters, description, levels[level], names, name=name)(x)
        return _normalised_relu(x, batch_norm_momentum, name)

    narrow, middle, wide = widths
    x = StandardisedPose(name="standardised")(coarse)
    if has_evidence:
        x = layers.Concatenate(name="with_evidence")([x, Evidence(name="evidence")(inputs, coarse)])
    x = block(x, narrow, 0, within, "view_1")
    x = block(x, narrow, 0, within, "view_2")
    skip_joints = block(x, middle, 0, across, "joints_down")
    x = PoolParts(parts, name="to_parts")(skip_joints)
    x = block(x, wide, 1, across, "parts_down_1")
    skip_parts = block(x, wide, 1, across, "parts_down_2")
    x = PoolParts(body, name="to_body")(skip_parts)
    x = block(x, wide, 2, across, "body_1")
    x = block(x, wide, 2, across, "body_2")
    x = UnpoolParts(body, name="from_body")(x)
    x = block(x, wide, 1, across, "parts_up")
    x = layers.Concatenate(name="with_parts")([x, skip_parts])
    x = _normalised_relu(layers.Dense(middle, name="merge")(x), batch_norm_momentum, "merge")
    x = UnpoolParts(parts, name="from_parts")(x)
    x = layers.Concatenate(name="with_joints")([x, skip_joints])
    residual = layers.Dense(3, kernel_initializer="zeros", dtype="float32", name="residual")(x)
    outputs = {"coarse_mm": coarse, "refined_mm": AddResidual(name="refined_mm")(coarse, residual)}
    return keras.Model(inputs, outputs, name="cv_ugcn")


def _normalised_relu(x: Any, momentum: float, name: str) -> Any:
    x = layers.BatchNormalization(momentum=momentum, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
