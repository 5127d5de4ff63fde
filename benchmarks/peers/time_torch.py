"""Times the mining of hardest negatives in PyTorch, and in pytorch-metric-learning's miner.

    .venv-torch/bin/python -m benchmarks.peers.time_torch [--sizes 64 8192] [--dim 128] [--threads 2]

Prints one line of JSON for each name and size: {"name", "n", "median_ms"}. Every row has its own label for
PyTorch; for the miner, which drops rows without a positive, every label has two rows.
"""

import torch
from pytorch_metric_learning.miners import BatchHardMiner

from benchmarks.peers import timing


def mine(labels: torch.Tensor, embeddings: torch.Tensor) -> torch.return_types.min:
    """Distances, mask and minimum, as one writes it by hand."""
    distances = torch.cdist(embeddings, embeddings)
    return distances.masked_fill_(labels[:, None] == labels[None, :], torch.inf).min(dim=1)


@torch.inference_mode()
def main() -> None:
    options = timing.arguments(__doc__)
    torch.set_num_threads(options.threads)
    miner = BatchHardMiner()
    for num_rows in options.sizes:
        embeddings = torch.from_numpy(timing.embeddings(num_rows, options.dim))
        labels = torch.arange(num_rows)
        timing.report("torch_cdist_mask_min", num_rows, lambda x=embeddings, y=labels: mine(y, x))
        timing.report(
            "pytorch_metric_learning_miner", num_rows, lambda x=embeddings, y=labels // 2: miner(x, y)
        )


if __name__ == "__main__":
    main()
