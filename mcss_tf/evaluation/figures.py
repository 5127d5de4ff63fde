"""Pictures of an evaluation as PNG bytes; colours of Okabe and Ito, which colour-blind people tell apart."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from mcss_tf.geometry.skeleton import Skeleton

TRUE_COLOUR, PREDICTED_COLOUR = "#0072B2", "#D55E00"
_CURVES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_INK, _GRID = "#333333", "#E3E3E3"


def curves(steps: np.ndarray, panels: dict[str, dict[str, np.ndarray]]) -> bytes:
    """Draws training curves: one panel per group of named series [T] over steps [T]."""
    columns = min(3, len(panels))
    lines = -(-len(panels) // columns)
    figure = Figure(figsize=(4.0 * columns, 2.6 * lines), layout="constrained")
    for position, (title, series) in enumerate(panels.items()):
        axes = figure.add_subplot(lines, columns, position + 1)
        for colour, (name, values) in zip(_CURVES, series.items(), strict=False):
            axes.plot(steps, values, color=colour, linewidth=1.6, label=name)
        axes.set_title(title, fontsize=10, loc="left", color=_INK)
        axes.set_xlabel("step", fontsize=8, color=_INK)
        _calm(axes)
        if len(series) > 1:
            axes.legend(fontsize=7, frameon=False)
    return _png(figure)


def skeletons(poses: Sequence[tuple[np.ndarray, np.ndarray, str]], skeleton: Skeleton) -> list[bytes]:
    """Draws true (blue) and predicted (orange) poses in one frame each.

    Args:
        poses: (true, predicted, title) with poses [J-1, 3] mm of the joints without the root.
        skeleton: of J joints.

    Returns:
        One PNG per pose.
    """
    return [_skeleton(true, predicted, title, skeleton) for true, predicted, title in poses]


def _skeleton(true: np.ndarray, predicted: np.ndarray, title: str, skeleton: Skeleton) -> bytes:
    figure = Figure(figsize=(3.0, 3.2), layout="constrained")
    axes = figure.add_subplot(projection="3d")
    for pose, colour, width in ((true, TRUE_COLOUR, 2.6), (predicted, PREDICTED_COLOUR, 1.8)):
        # The root is the origin of every canonical pose; masked joints are NaN and leave a gap.
        joints = np.insert(np.asarray(pose, np.float64), skeleton.root, 0.0, axis=0)
        for parent, child in skeleton.edges:
            axes.plot(*joints[[parent, child]].T, color=colour, linewidth=width)
    centre = np.nanmean(true, axis=0)
    reach = np.nanmax(np.abs(np.concatenate([true, predicted]) - centre))
    for axis, middle in zip("xyz", centre, strict=True):
        getattr(axes, f"set_{axis}lim")(middle - reach, middle + reach)
        getattr(axes, f"set_{axis}ticklabels")([])
        getattr(axes, f"{axis}axis").pane.set_facecolor("#FAFAFA")
    axes.set_box_aspect((1, 1, 1))
    # A canonical pose has its left hip on +x and so faces -y: look at it from its front left.
    axes.view_init(elev=12, azim=-60)
    axes.set_title(title, fontsize=9, color=_INK)
    return _png(figure)


def distance_matrix(distances: np.ndarray, labels: Sequence[str], num_views: int) -> bytes:
    """Draws distances [N, N] between images ordered by instant, `num_views` images per instant."""
    size = 2.0 + 0.2 * len(distances)
    figure = Figure(figsize=(size, 0.92 * size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(distances, cmap="cividis")
    for border in np.arange(num_views, len(distances), num_views) - 0.5:
        axes.axhline(border, color="white", linewidth=1.0)
        axes.axvline(border, color="white", linewidth=1.0)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=6)
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    figure.colorbar(image, shrink=0.8).set_label("embedding distance", fontsize=8)
    return _png(figure)


def camera_matrix(rates: Sequence[Sequence[float | None]], names: Sequence[str]) -> bytes:
    """Draws the hit rate of every ordered camera pair; empty where there is none."""
    values = np.array([[np.nan if rate is None else 100 * rate for rate in row] for row in rates])
    size = 2.0 + 0.55 * len(names)
    figure = Figure(figsize=(size + 0.6, size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap="cividis", vmin=0, vmax=max(1.0, np.nanmax(values)))
    middle = image.get_clim()[1] / 2
    for (row, column), value in np.ndenumerate(values):
        if np.isfinite(value):
            colour = "white" if value < middle else "black"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.set_xlabel("found in", fontsize=8)
    axes.set_ylabel("frame of", fontsize=8)
    return _png(figure)


def _calm(axes) -> None:
    axes.grid(color=_GRID, linewidth=0.6)
    axes.tick_params(labelsize=7, colors=_INK, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()
