"""Whether the cameras of a sequence run at one rate, equally long, at the same time."""

import logging
from collections.abc import Mapping

from mcss_tf.data.video import VideoInfo
from mcss_tf.errors import InputError

_log = logging.getLogger(__name__)
# Cameras of one sequence, unless the user explains the difference (--tolerance_ms, offsets_s).
_MAX_RATE_DIFFERENCE = 0.01
_MAX_LENGTH_DIFFERENCE_S, _MAX_LENGTH_DIFFERENCE = 0.5, 0.02
_MIN_PAIRED = 0.1


def check_rates(
    name: str, infos: Mapping[str, VideoInfo], fps: float | None, is_uneven_allowed: bool
) -> None:
    """Makes sure that the cameras of a sequence run at one rate, and at the one that was stated.

    Raises:
        InputError: if they do not and this is not allowed.
    """
    rates = {camera: info.fps for camera, info in infos.items()}
    listed = ", ".join(f"{camera} {rate:.4g}" for camera, rate in rates.items())
    if fps is not None and any(abs(rate - fps) > _MAX_RATE_DIFFERENCE * fps for rate in rates.values()):
        raise InputError(
            f"Videos must run at the fps of recordings.toml within {_MAX_RATE_DIFFERENCE:.0%}. "
            f"Received: fps = {fps:g} and {listed} in {name}. Correct or remove fps."
        )
    is_uneven = max(rates.values()) > (1 + _MAX_RATE_DIFFERENCE) * min(rates.values())
    if is_uneven and not is_uneven_allowed:
        raise InputError(
            "Cameras of a sequence must run at the same frame rate within "
            f"{_MAX_RATE_DIFFERENCE:.0%}. Received: {listed} frames per second in {name}. Convert "
            "one, or say with --tolerance_ms how far apart paired frames may be, and take the slowest camera "
            "as `reference` in recordings.toml."
        )


def common_time(
    name: str, infos: Mapping[str, VideoInfo], offsets_s: Mapping[str, float]
) -> tuple[float, float]:
    """Returns when all cameras run, on the common clock.

    Raises:
        InputError: if they never do, or differ in length without offsets: frames were lost.
    """
    durations = {camera: info.duration_s for camera, info in infos.items()}
    longest, shortest = max(durations.values()), min(durations.values())
    allowed = max(_MAX_LENGTH_DIFFERENCE_S, _MAX_LENGTH_DIFFERENCE * longest)
    listed = ", ".join(f"{camera} {duration:.2f} s" for camera, duration in durations.items())
    if longest - shortest > allowed and not any(offsets_s.values()):
        raise InputError(
            f"Cameras of a sequence must last equally long, within {_MAX_LENGTH_DIFFERENCE_S:g} s or "
            f"{_MAX_LENGTH_DIFFERENCE:.0%}. Received: {listed} in {name}. Trim the videos to the same take, "
            "or write the cameras' offsets_s into recordings.toml."
        )
    start_s = max(offsets_s.values())
    end_s = min(offsets_s[camera] + duration for camera, duration in durations.items())
    if end_s <= start_s:
        raise InputError(
            f"Cameras of a sequence must run at the same time. Received: {listed} with offsets_s {offsets_s} "
            f"in {name}. Correct offsets_s in recordings.toml."
        )
    return start_s, end_s


def check_paired(name: str, paired: Mapping[str, int], num_instants: int, tolerance_s: float) -> None:
    """Refuses a camera that hardly ever has a frame near the reference's; says what else was left out.

    Args:
        name: of the sequence.
        paired: by camera, the number of instants with a frame of it.
        num_instants: of the reference camera.
        tolerance_s: of pairing.

    Raises:
        InputError: naming the cameras' numbers of pairs.
    """
    listed = ", ".join(f"{camera} {count}" for camera, count in paired.items())
    if min(paired.values()) < _MIN_PAIRED * num_instants:
        raise InputError(
            f"Every camera must have a frame within {1000 * tolerance_s:.1f} ms of at least "
            f"{_MIN_PAIRED:.0%} of the {num_instants} instants. Received: {listed} pairs in {name}. "
            "Raise --tolerance_ms or correct offsets_s in recordings.toml."
        )
    if min(paired.values()) < num_instants:
        _log.warning("%s: of %d instants, cameras paired %s", name, num_instants, listed)
