"""The datasets that their owners ship: which source reads which, with what options."""

from pathlib import Path
from typing import Any

from mcss_tf.data.sources.human36m import Human36mOptions, Human36mSource
from mcss_tf.data.sources.mpi_inf_3dhp import Mpi3dhpSource
from mcss_tf.data.sources.mpi_inf_3dhp_labels import Mpi3dhpOptions
from mcss_tf.data.sources.mpi_inf_3dhp_testset import Mpi3dhpTestSource
from mcss_tf.data.sources.panoptic import PanopticOptions, PanopticSource
from mcss_tf.data.sources.videopose3d import VideoPose3dOptions, VideoPose3dSource
from mcss_tf.errors import InputError

DOWNLOADS = {
    "human36m": (Human36mSource, Human36mOptions),
    "mpi_inf_3dhp": (Mpi3dhpSource, Mpi3dhpOptions),
    "mpi_inf_3dhp_test": (Mpi3dhpTestSource, Mpi3dhpOptions),
    "panoptic": (PanopticSource, PanopticOptions),
    "videopose3d": (VideoPose3dSource, VideoPose3dOptions),
}


def make_source(name: str, root: str | None, options: dict[str, Any]) -> tuple[Any, Any]:
    """Returns the source of that name and its options.

    Args:
        name: one of `DOWNLOADS`.
        root: folder of the download.
        options: by flag; None means that the flag was not given.

    Raises:
        InputError: if there is no folder, or a flag is not one of this source's.
    """
    if root is None or not Path(root).is_dir():
        raise InputError(
            f"--source={name} needs the folder of the download. Received: --input={root}. Check the path."
        )
    make, make_options = DOWNLOADS[name]
    given = {key: value for key, value in options.items() if value is not None}
    foreign = sorted(set(given) - set(make_options.__dataclass_fields__))
    if foreign:
        raise InputError(
            f"--source={name} has no --{', --'.join(foreign)}. Received: "
            f"{', '.join(f'--{key}={given[key]}' for key in foreign)}. Leave it out."
        )
    chosen = make_options(root=Path(root).resolve(), **given)
    return make(chosen), chosen
