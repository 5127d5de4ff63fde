"""The configuration files, read by real parsers."""

from pathlib import Path

import pytest
import yaml
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format, wrappers_pb2
from tensorflow_serving.config import model_server_config_pb2

from mcss_tf.errors import InputError
from mcss_tf.serving.kit import ALLOWED_BATCH_SIZES, write_kit


@pytest.fixture(scope="module")
def kit(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("serving")
    write_kit(folder / "mcss", folder / "kit")
    return folder / "kit"


def batching_parameters() -> type:
    """BatchingParameters of the server, whose proto the package tensorflow-serving-api leaves out."""
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="test", syntax="proto3")
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    message = file.message_type.add(name="BatchingParameters")
    wrapped = {
        "max_batch_size": 1,
        "batch_timeout_micros": 2,
        "max_enqueued_batches": 3,
        "num_batch_threads": 4,
    }
    for name, number in wrapped.items():
        message.field.add(name=name, number=number, type=11, label=1, type_name=".google.protobuf.Int64Value")
    message.field.add(
        name="thread_pool_name", number=5, type=11, label=1, type_name=".google.protobuf.StringValue"
    )
    message.field.add(name="allowed_batch_sizes", number=6, type=3, label=3)
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("test.BatchingParameters"))


def check_batching(text: str) -> None:
    parameters = text_format.Parse(text, batching_parameters()())
    sizes = list(parameters.allowed_batch_sizes)
    assert sizes == sorted(set(sizes)) == list(ALLOWED_BATCH_SIZES)
    assert sizes[-1] == parameters.max_batch_size.value
    assert parameters.batch_timeout_micros.value > 0


def check_models(text: str) -> None:
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert (model.name, model.base_path, model.model_platform) == ("mcss", "/models/mcss", "tensorflow")


def test_the_servers_own_files(kit: Path) -> None:
    check_models((kit / "models.config").read_text())
    check_batching((kit / "batching_parameters.txt").read_text())


def test_compose_mounts_the_versions_and_the_configuration(kit: Path) -> None:
    service = yaml.safe_load((kit / "docker-compose.yaml").read_text())["services"]["mcss"]
    mounts = {mount["target"]: mount for mount in service["volumes"]}
    assert mounts["/models/mcss"]["source"] == str((kit.parent / "mcss").resolve())
    assert mounts["/config"]["source"] == str(kit.resolve())
    assert all(mount["read_only"] for mount in mounts.values())
    check_flags(service["command"])


def check_flags(command: list[str]) -> None:
    flags = dict(flag.removeprefix("--").split("=") for flag in command)
    assert flags["model_config_file"] == "/config/models.config"
    assert flags["batching_parameters_file"] == "/config/batching_parameters.txt"
    assert flags["enable_batching"] == "true"


def test_kubernetes_probes_the_status_api_and_mounts_what_it_names(kit: Path) -> None:
    objects = {item["kind"]: item for item in yaml.safe_load_all((kit / "kubernetes.yaml").read_text())}
    assert objects.keys() == {"ConfigMap", "Deployment", "Service"}
    check_models(objects["ConfigMap"]["data"]["models.config"])
    check_batching(objects["ConfigMap"]["data"]["batching_parameters.txt"])
    deployment = objects["Deployment"]["spec"]
    assert deployment["selector"]["matchLabels"] == deployment["template"]["metadata"]["labels"]
    assert objects["Service"]["spec"]["selector"] == deployment["selector"]["matchLabels"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    check_flags(container["args"])
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/v1/models/mcss", "port": "rest"}
    assert {port["name"]: port["containerPort"] for port in container["ports"]} == {
        "grpc": 8500,
        "rest": 8501,
    }
    assert {mount["name"] for mount in container["volumeMounts"]} == {
        volume["name"] for volume in pod["volumes"]
    }
    (config,) = [volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume]
    assert config == objects["ConfigMap"]["metadata"]["name"]


def test_an_edited_file_is_never_replaced(tmp_path: Path) -> None:
    write_kit(tmp_path / "mcss", tmp_path)
    write_kit(tmp_path / "mcss", tmp_path)
    (tmp_path / "models.config").write_text("mine")
    with pytest.raises(
        InputError, match=r"never replaces a file .* Received: .*models.config, which differs"
    ):
        write_kit(tmp_path / "mcss", tmp_path)
    assert (tmp_path / "models.config").read_text() == "mine"


@pytest.mark.parametrize("name", ["My_Model", "größe", "-x", "a" * 60])
def test_a_name_that_kubernetes_refuses(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"as Kubernetes asks. Received: --output=.* Choose another name"):
        write_kit(tmp_path / name, tmp_path / "kit")
