"""The warm-up requests are what the served model takes."""

import keras
import pytest
import tensorflow as tf

from mcss_tf.serving.signatures import signatures_of
from mcss_tf.serving.warmup import BATCH_SIZES, WARMUP, write_warmup
from tests.serving.conftest import IMAGE_SIZE

prediction_log_pb2 = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")


def test_every_signature_takes_its_requests(model: keras.Model, signatures: dict, tmp_path) -> None:
    sizes = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    assert write_warmup(tmp_path, signatures_of(True, False), "mcss", sizes)
    records = tf.data.TFRecordDataset(str(tmp_path / WARMUP)).as_numpy_iterator()
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]
    assert [(request.model_spec.name, request.model_spec.signature_name) for request in requests] == [
        ("mcss", name) for name in signatures_of(True, False) for _ in BATCH_SIZES
    ]
    for request in requests:
        inputs = {name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()}
        outputs = signatures[request.model_spec.signature_name](**inputs)
        assert not outputs.get("status", tf.zeros(1)).numpy().any()
        assert all(len(value) in BATCH_SIZES for value in outputs.values())
