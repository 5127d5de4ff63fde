"""What can go wrong between a client and a model server, one type each.

All are `InputError`: the rule, `Received: ...`, what to do; entry points print them without a traceback.
"""

from mcss_tf.errors import InputError


class ServingError(InputError):
    """A request failed; its subclasses say why, and this one stands for what the server itself got wrong."""


class ModelNotFoundError(ServingError):
    """The server has no model of that name or version."""


class WrongRequestError(ServingError):
    """Signature, tensor name, dtype or shape is not what the model takes."""


class BatchTooLargeError(ServingError):
    """One request holds more than the server takes at once."""


class DeadlineExceededError(ServingError):
    """No answer within the deadline."""


class ServerUnavailableError(ServingError):
    """Nobody answers, the server went away, or it is too busy; the one error that is retried."""


# What TensorFlow Serving's batching says (tensorflow/core/kernels/batching_util/shared_batch_scheduler.h).
_TOO_LARGE = "larger than maximum input batch size"

_RULES = {
    ServingError: ("A model server answers every correct request.", "See the server's log."),
    ModelNotFoundError: (
        "A request names a model that the server has.",
        "Give the name under which the server loaded it (its --model_name, or models.config).",
    ),
    WrongRequestError: (
        "A request holds what the model's signature says (docs/serving.md).",
        "Send the tensors of the table; export again if the model is older than the client.",
    ),
    BatchTooLargeError: (
        "A request holds at most as many rows as the server's max_batch_size.",
        "Give the client a smaller max_batch, or raise max_batch_size in the server's batching parameters.",
    ),
    DeadlineExceededError: (
        "A request is answered within its deadline.",
        "Allow more time (timeout_s), send smaller batches, or give the server more cores.",
    ),
    ServerUnavailableError: (
        "A model server listens at the given address.",
        "Start it, or check address and port: gRPC is host:8500, REST is http://host:8501 by default.",
    ),
}


def make_error(kind: type[ServingError], server: str, details: str) -> ServingError:
    """Returns an error of one kind with its rule, what was received from which server, and what to do."""
    rule, advice = _RULES[kind]
    return kind(f"{rule} Received: {details or 'no details'} (from {server}). {advice}")


def kind_of_refusal(details: str) -> type[ServingError]:
    """Tells a batch that is too large from a request that is wrong; servers have one code for both."""
    return BatchTooLargeError if _TOO_LARGE in details else WrongRequestError
