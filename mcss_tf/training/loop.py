"""The loop all methods share: step, log, check, checkpoint, resume, finish."""

import contextlib
import dataclasses
import functools
import signal
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from ml_collections import ConfigDict

from mcss_tf import replicas
from mcss_tf.training import device
from mcss_tf.training.adam import Adam
from mcss_tf.training.checkpoints import Checkpoints, catch_signals
from mcss_tf.training.logs import Logs
from mcss_tf.training.profiler import Profiler
from mcss_tf.training.schedules import LearningRate
from mcss_tf.training.strategy import (
    agree,
    average_statistics,
    check_same_step,
    distribute_batches,
    first_local,
    is_told_to_stop,
    synchronise_batch_norm,
)
from mcss_tf.training.validation import Validation
from mcss_tf.training.watch import Watch
from mcss_tf.training.workdir import Workdir


def train(
    method: Any,
    config: ConfigDict,
    workdir: Workdir,
    *,
    keep: int = 2,
    profile: range | None = None,
    strategy: tf.distribute.Strategy | None = None,
    resume_from: Workdir | None = None,
) -> keras.Model:
    """Trains from the workdir's last checkpoint, or from the start, to the end.

    Batches are a function of (seed, step), so a run that was killed and resumed sees the same data in the
    same order as one that was not, and on a CPU in float32 ends with the same bits.

    Args:
        method: of `methods.get`.
        config: the whole config.
        workdir: where checkpoints, logs and the final model go.
        keep: how many of the newest checkpoints stay on disk.
        profile: steps (counted from 1) whose profile goes to TensorBoard; None for none.
        strategy: of `strategy.build_strategy`; None: one device. The batches of all replicas together are
            those that one device would see.
        resume_from: whose checkpoints to resume from; None: this workdir's. Workers beside the chief read
            the chief's and have a workdir of their own, since to save takes all of them.

    Returns:
        The trained model, which is also in the workdir.

    Raises:
        TrainingStoppedError: the loss is not finite or the embedding has collapsed; names the steps.
        InputError: all checkpoints of the run are damaged, or workers do not see the same ones.
        OSError: a file cannot be written; the checkpoints before are whole.
        SystemExit: SIGINT or SIGTERM came; the state is saved, the same command resumes.
    """
    strategy = strategy or tf.distribute.get_strategy()
    precision = device.set_precision(config.train.precision)
    keras.utils.set_random_seed(config.seed)
    num_steps = config.train.steps or config.train.epochs * method.steps_per_epoch
    model, optimizer = _build(method, config, num_steps, strategy)
    validation = Validation(method, model, optimizer, config.validation, strategy)
    checkpoints = Checkpoints(
        workdir, keep, model=model, optimizer=optimizer, method=method.state, validation=validation
    )
    first_step, warnings = checkpoints.restore(resume_from)
    check_same_step(strategy, first_step)
    with (
        catch_signals() as caught,
        Logs(
            workdir,
            first_step,
            num_steps,
            method.steps_per_epoch,
            method.images_per_step,
            is_quiet=resume_from is not None,
        ) as logs,
        Profiler(workdir.tensorboard, profile) as profiler,
        checkpoints,
    ):
        for warning in warnings:
            logs.warn(warning)
        logs.print(f"{precision}; steps {first_step + 1}-{num_steps}; {method.describe()}")
        if strategy.num_replicas_in_sync > 1:
            logs.print(f"{strategy.num_replicas_in_sync} replicas share it")
        loop = _Loop(
            method, config, strategy, model, optimizer, validation, checkpoints, logs, profiler, caught
        )
        loop.run(first_step, num_steps)
        if config.train.ema_decay:
            optimizer.finalize_variable_values(model.trainable_variables)
        if kept := validation.finish():
            logs.print(kept)
        checkpoints.wait()
        workdir.save_model(model)
        agree(strategy, {"finished": 1.0})  # nobody leaves before all are done
    return model


@dataclasses.dataclass
class _Loop:
    """The steps of a run, and what is due between them."""

    method: Any
    config: ConfigDict
    strategy: tf.distribute.Strategy
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    validation: Validation
    checkpoints: Checkpoints
    logs: Logs
    profiler: Profiler
    caught: list[int]
    pending: list[dict[str, tf.Tensor]] = dataclasses.field(default_factory=list)

    def run(self, first_step: int, num_steps: int) -> None:
        """Takes the steps after `first_step` until the last, a signal, or no better validation."""
        watch = Watch(self.method.find_collapse, self.config.train.collapse_steps)
        train_step = build_train_step(self.method, self.model, self.optimizer, self.strategy)
        batches = distribute_batches(self.strategy, functools.partial(self.method.train_batches, first_step))
        for step in range(first_step + 1, num_steps + 1):
            if self.validation.should_stop():
                self.logs.print(f"stopped before step {step}: {self.validation.metric} has not become better")
                break
            self.profiler.before(step)
            batch = self.logs.next_batch(batches)
            self.pending.append(train_step(batch))
            self.logs.advance()
            self.profiler.after(step)
            self.checkpoints.check()
            self._do_what_is_due(step, num_steps, batch, watch)

    def _do_what_is_due(self, step: int, num_steps: int, batch: Any, watch: Watch) -> None:
        options = self.config.train
        if self.validation.is_due(step, num_steps):
            with not_training(self.logs):
                self.logs.write_validation(step, self.validation.run(step))
        is_told = is_told_to_stop(self.strategy, self.caught, step % options.log_every == 0)
        is_last = step == num_steps or is_told or self.validation.should_stop()
        is_saved = is_last or step % options.checkpoint_every == 0
        if is_saved or step % options.log_every == 0:
            # Before the checkpoint: a state that is broken is not worth keeping.
            self._log(step, watch)
        with not_training(self.logs):
            if is_saved:
                self.logs.write_checkpoint(step, self.checkpoints.save(step))
            if step % options.pictures_every == 0:
                pictures = self.method.pictures(self.model, first_local(self.strategy, batch))
                for name, image in pictures.items():
                    self.logs.write_image(step, name, image)
        if is_told:
            self.checkpoints.wait()
            self.logs.print(f"stopped after step {step}, which is saved: the same command resumes")
            raise SystemExit(128 + (self.caught or [signal.SIGTERM])[0])

    def _log(self, step: int, watch: Watch) -> None:
        means = {name: float(np.mean([p[name] for p in self.pending])) for name in self.pending[0]}
        watch.check(means, step - len(self.pending) + 1, step)
        self.logs.write(step, float(self.optimizer.learning_rate), means)
        self.pending.clear()


def _build(
    method: Any, config: ConfigDict, num_steps: int, strategy: tf.distribute.Strategy
) -> tuple[keras.Model, keras.optimizers.Optimizer]:
    with strategy.scope():
        model = method.build_model()
        factor = getattr(method.state, "factor", None)
        optimizer = build_optimizer(config, num_steps, method.steps_per_epoch, factor)
        optimizer.build(model.trainable_variables)
    if config.train.sync_batch_norm:
        synchronise_batch_norm(model)
    return model, optimizer


def build_optimizer(
    config: ConfigDict, num_steps: int, steps_per_epoch: int, factor: tf.Variable | None = None
) -> keras.optimizers.Optimizer:
    """Builds Adam with the config's learning rate, which `factor` multiplies in the schedule "plateau".

    `amsgrad` divides by the largest second moment so far; `ema_decay` > 0 keeps a moving average of the
    weights.
    """
    options = config.train
    rate = LearningRate(
        options.schedule,
        options.learning_rate,
        num_steps,
        options.warmup_steps or round(options.warmup_epochs * steps_per_epoch),
        options.drop_every_steps or round(options.drop_every_epochs * steps_per_epoch),
        factor,
    )
    decay = config.train.ema_decay
    return Adam(
        rate, amsgrad=config.train.get("amsgrad", False), use_ema=decay > 0, ema_momentum=decay or 0.99
    )


def build_train_step(
    method: Any,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    strategy: tf.distribute.Strategy | None = None,
) -> Any:
    """Returns a function from a batch to its scalars that takes one step of the optimizer.

    With several replicas the scalars, the gradients and BatchNorm's moving statistics are their means; see
    `replicas` for why these are those of the whole batch.
    """
    strategy = strategy or tf.distribute.get_strategy()
    num_replicas = strategy.num_replicas_in_sync

    def replica_step(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        with tf.GradientTape() as tape:
            scalars = method.losses(model, batch)
            share = scalars["total"] / num_replicas  # the optimizer adds the replicas' gradients up
        optimizer.apply(tape.gradient(share, model.trainable_variables), model.trainable_variables)
        average_statistics(model)
        return replicas.mean_of_each(scalars)

    # XLA compiles for one device.
    @tf.function(jit_compile=device.use_jit_compile() and strategy is tf.distribute.get_strategy())
    def train_step(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        scalars = first_local(strategy, strategy.run(replica_step, args=(batch,)))
        method.after_step(scalars)
        return scalars

    return train_step


@contextlib.contextmanager
def not_training(logs: Logs) -> Iterator[None]:
    """Keeps the time of the block out of the images/s that the logs show."""
    start = time.monotonic()
    yield
    logs.pause_clock(time.monotonic() - start)
