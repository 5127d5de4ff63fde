"""How fast the studio renders: crops per second of several processes, as `prepare` uses them.

    python benchmarks/render.py [--crop_size=128] [--processes=2] [--num_instants=100] [--json=FILE]

The target is 150 crops/s at 128 pixels on 2 cores.
"""

import multiprocessing
import time

from absl import app, flags

from mcss_tf import files
from mcss_tf.data.sources.studio import StudioOptions, StudioSource

_CROP_SIZE = flags.DEFINE_integer("crop_size", 128, "Width and height of crops in pixels.", lower_bound=1)
_PROCESSES = flags.DEFINE_integer("processes", 2, "How many processes render.", lower_bound=1)
_NUM_INSTANTS = flags.DEFINE_integer(
    "num_instants", 100, "Instants that each process renders.", lower_bound=1
)
_JSON = flags.DEFINE_string("json", None, "File for the result.")


def _render(options: StudioOptions, process: int, start: multiprocessing.Barrier) -> None:
    source = StudioSource(options)
    specs = source.sequences()
    # The room is drawn once per process; that is not part of the rate.
    next(source.instants(specs[0]))
    start.wait()
    for spec in specs[process :: _PROCESSES.value]:
        for _ in source.instants(spec):
            pass
    start.wait()


def main(_: list[str]) -> None:
    num_instants = _NUM_INSTANTS.value * _PROCESSES.value
    options = StudioOptions(
        train_subjects=tuple(f"S{index}" for index in range(_PROCESSES.value)),
        test_subjects=(),
        num_train_instants=_NUM_INSTANTS.value,
        crop_size=_CROP_SIZE.value,
    )
    context = multiprocessing.get_context("fork")
    start = context.Barrier(_PROCESSES.value + 1)
    workers = [
        context.Process(target=_render, args=(options, index, start)) for index in range(_PROCESSES.value)
    ]
    for worker in workers:
        worker.start()
    start.wait()
    began = time.perf_counter()
    start.wait()
    seconds = time.perf_counter() - began
    for worker in workers:
        worker.join()
    num_crops = num_instants * options.num_cameras
    result = {
        "crop_size": _CROP_SIZE.value,
        "processes": _PROCESSES.value,
        "num_crops": num_crops,
        "crops_per_s": num_crops / seconds,
    }
    print(
        f"{result['crops_per_s']:.0f} crops/s at {_CROP_SIZE.value} px in {_PROCESSES.value} processes "
        f"({num_crops} crops in {seconds:.1f} s)"
    )
    if _JSON.value:
        files.write_json(_JSON.value, result)


if __name__ == "__main__":
    app.run(main)
