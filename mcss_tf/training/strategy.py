"""Where a run computes: one device, all devices of a machine, or the machines that TF_CONFIG names."""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from mcss_tf import replicas
from mcss_tf.errors import InputError
from mcss_tf.training.watch import TrainingStoppedError

STRATEGIES = ("default", "mirrored", "multi_worker")
_EXAMPLE = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'


def build_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy of a run; to be called before TensorFlow computes anything.

    Args:
        name: "default", one device; "mirrored", all GPUs of this machine (without any: its logical CPUs);
            "multi_worker", this process is one of those that the environment variable TF_CONFIG names.

    Raises:
        InputError: another name, or TF_CONFIG is absent or wrong.
    """
    if name == "mirrored":
        kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy([d.name for d in tf.config.list_logical_devices(kind)])
    if name == "multi_worker":
        check_tf_config(os.environ.get("TF_CONFIG", ""))
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name != "default":
        raise InputError(f"--strategy is one of {', '.join(STRATEGIES)}. Received: {name!r}. Choose one.")
    return tf.distribute.get_strategy()


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Returns whether this process is the one that writes to the workdir."""
    resolver = strategy.cluster_resolver
    if resolver is None or not resolver.cluster_spec().jobs:
        return True
    first = "chief" if "chief" in resolver.cluster_spec().jobs else "worker"
    return (resolver.task_type, resolver.task_id) == (first, 0)


def num_workers(strategy: tf.distribute.Strategy) -> int:
    """Returns the number of processes that train together."""
    if strategy.cluster_resolver is None:
        return 1
    return max(1, sum(len(hosts) for hosts in strategy.cluster_resolver.cluster_spec().as_dict().values()))


@contextlib.contextmanager
def lost_workers_told(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Makes what TensorFlow raises in a worker whose peer is gone a TrainingStoppedError."""
    try:
        yield
    except tf.errors.OpError as error:
        if num_workers(strategy) == 1:
            raise
        raise TrainingStoppedError(
            f"A worker was lost ({type(error).__name__}: {error.message.strip().splitlines()[0]}). Start all "
            "workers again with the same commands: they resume from the last checkpoint."
        ) from error


def distribute_batches(strategy: tf.distribute.Strategy, make: Callable[..., tf.data.Dataset]) -> Any:
    """Returns an iterator over the batches of this process's replicas.

    Args:
        strategy: of the run.
        make: returns the endless batches of a shard (index, count); a replica takes the shard of its number.
    """
    if strategy is tf.distribute.get_strategy():
        return iter(make())

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = context.num_replicas_in_sync
        num_local = count // context.num_input_pipelines
        first = context.input_pipeline_id * num_local
        shards = [make((first + local, count)) for local in range(num_local)]
        # A worker's replicas take consecutive elements.
        turns = tf.data.Dataset.range(num_local).repeat()
        batches = tf.data.Dataset.choose_from_datasets(shards, turns) if num_local > 1 else shards[0]
        # Said explicitly, else workers ask each other at every step whether all of them have data left.
        return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

    return iter(strategy.distribute_datasets_from_function(of_worker))


def first_local(strategy: tf.distribute.Strategy, values: Mapping[str, Any]) -> dict[str, tf.Tensor]:
    """Returns what the first replica of this process holds of distributed values."""
    return {name: strategy.experimental_local_results(value)[0] for name, value in values.items()}


def agree(strategy: tf.distribute.Strategy, values: Mapping[str, float]) -> dict[str, float]:
    """Returns the means over all workers, so that they decide alike."""
    if num_workers(strategy) == 1:
        return dict(values)
    names = list(values)
    given = tf.constant([values[name] for name in names], tf.float32)
    found = strategy.experimental_local_results(strategy.run(tf.function(replicas.mean), args=(given,)))
    return dict(zip(names, found[0].numpy().tolist(), strict=True))


def is_told_to_stop(strategy: tf.distribute.Strategy, caught: list[int], is_asked: bool) -> bool:
    """Returns whether a signal came to any worker; they ask each other only where `is_asked`, all alike."""
    if num_workers(strategy) == 1:
        return bool(caught)
    return is_asked and agree(strategy, {"caught": float(bool(caught))})["caught"] > 0


def check_same_step(strategy: tf.distribute.Strategy, step: int) -> None:
    """Raises InputError where workers resume from different steps."""
    mean = agree(strategy, {"step": step})["step"]
    if mean != step:
        raise InputError(
            f"All workers resume from one step. Received: step {step} here, {mean:g} on average. "
            "Put --workdir where all of them see the same files."
        )


def synchronise_batch_norm(model: keras.Model) -> None:
    """Lets batch normalisation take its statistics over the batches of all replicas."""
    for layer in _batch_norms(model):
        layer.synchronized = True


def average_statistics(model: keras.Model) -> None:
    """Within a step: makes the moving statistics of unsynchronised normalisation the replicas' mean."""
    layers = [layer for layer in _batch_norms(model) if not layer.synchronized]
    moving = [v.value for layer in layers for v in (layer.moving_mean, layer.moving_variance)]
    if replicas.count() == 1 or not moving:
        return
    flat = replicas.mean(tf.concat([tf.reshape(v, [-1]) for v in moving], 0))
    parts = tf.split(flat, [v.shape.num_elements() for v in moving])
    for variable, part in zip(moving, parts, strict=True):
        variable.assign(tf.reshape(part, variable.shape))


def _batch_norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]


def check_tf_config(text: str) -> None:
    """Checks the value of TF_CONFIG.

    Raises:
        InputError: it is no JSON of a cluster of workers and a task that is one of them.
    """
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        job, index = task["type"], task["index"]
        addresses = [address for workers in cluster.values() for address in workers]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"--strategy=multi_worker needs TF_CONFIG with a cluster and this process's task: {_EXAMPLE}. "
            f"Received: {text!r} ({type(error).__name__}: {error}). Set it for every worker."
        ) from error
    wrong = _what_is_wrong(cluster, job, index, addresses)
    if wrong:
        raise InputError(f"TF_CONFIG must be like {_EXAMPLE}. Received: {text!r}: {wrong}. Correct it.")


def _what_is_wrong(cluster: dict[str, Any], job: Any, index: Any, addresses: list[Any]) -> str:
    if not set(cluster) <= {"chief", "worker"} or not all(isinstance(w, list) for w in cluster.values()):
        return 'the cluster may have lists "worker" and "chief" only'
    if len(cluster.get("chief", [])) > 1:
        return "there is one chief at most"
    malformed = [a for a in addresses if not isinstance(a, str) or not a.rpartition(":")[2].isdigit()]
    if malformed or any(a.startswith(":") for a in addresses):
        return f"addresses are host:port, unlike {malformed or addresses}"
    if len(set(addresses)) < len(addresses):
        return "two workers have one address"
    if not isinstance(job, str) or job not in cluster:
        return f"the task's type {job!r} is not in the cluster"
    if not isinstance(index, int) or not 0 <= index < len(cluster[job]):
        return f"the task's index {index!r} is not among the {len(cluster[job])} of {job!r}"
    return ""
