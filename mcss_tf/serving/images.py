"""The served model of images: every signature of the table with the function behind it."""

from collections.abc import Callable

import keras

from mcss_tf.serving import graph
from mcss_tf.serving.folding import fold_batch_norm
from mcss_tf.serving.gallery import Gallery
from mcss_tf.serving.signatures import Signature, signatures_of


def served(
    model: keras.Model,
    context: float,
    *,
    precision: str = "float32",
    gallery: Gallery | None = None,
    k: int = 10,
) -> dict[str, tuple[Signature, Callable]]:
    """Returns what `saved_model.write` takes: signature and function by name.

    Args:
        model: as trained, in any dtype policy.
        context: side of a training crop over the longer side of the person.
        precision: in which the convolutions are stored and computed.
        gallery: for `retrieve`, embedded by this model.
        k: images that `retrieve` finds.
    """
    functions = graph.endpoints(fold_batch_norm(model, precision), context, gallery, k)
    signatures = signatures_of("pose_mm" in model.output, gallery is not None)
    return {name: (signature, functions[name]) for name, signature in signatures.items()}
