"""Times NumPy's bare matrix product of the same shape, which must write its N x N result; no mask, no minima.

    OMP_NUM_THREADS=2 python -m benchmarks.peers.time_numpy [--sizes 64 8192] [--dim 128]

Prints one line of JSON for each size: {"name", "n", "median_ms"}. In a process of its own, since the threads
of its library wait at full speed after a call, and would take a core from whoever comes next.
"""

import numpy as np

from benchmarks.peers import timing


def main() -> None:
    options = timing.arguments(__doc__)
    for num_rows in options.sizes:
        embeddings = timing.embeddings(2 * num_rows, options.dim)
        anchors, positives = embeddings[:num_rows], embeddings[num_rows:]
        product = np.empty((num_rows, num_rows), np.float32)
        timing.report(
            "numpy", num_rows, lambda a=anchors, p=positives, out=product: np.matmul(a, p.T, out=out)
        )


if __name__ == "__main__":
    main()
