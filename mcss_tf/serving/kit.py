"""What it takes to serve an export: TensorFlow Serving's configuration, Docker Compose, Kubernetes."""

from pathlib import Path

from mcss_tf import files
from mcss_tf.errors import InputError

IMAGE = "tensorflow/serving:2.21.0"
# Batches are padded up to the next allowed size; the last is max_batch_size, or the server refuses to start.
ALLOWED_BATCH_SIZES = (1, 2, 4, 8, 16, 32)

MODELS_CONFIG = """model_config_list {{
  config {{
    name: "{name}"
    base_path: "/models/{name}"
    model_platform: "tensorflow"
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

BATCHING = """max_batch_size {{ value: {max_batch_size} }}
batch_timeout_micros {{ value: 2000 }}
max_enqueued_batches {{ value: 100 }}
num_batch_threads {{ value: 2 }}
{allowed}
"""

COMPOSE = """services:
  {name}:
    image: {image}
    command:
      - --model_config_file=/config/models.config
      - --enable_batching=true
      - --batching_parameters_file=/config/batching_parameters.txt
    ports:
      - "8500:8500"  # gRPC
      - "8501:8501"  # REST
    volumes:
      - type: bind
        source: {output}
        target: /models/{name}
        read_only: true
      - type: bind
        source: {kit}
        target: /config
        read_only: true
    restart: unless-stopped
"""

KUBERNETES = """# The versions lie in the folder `{name}` of the volume behind the claim {name}-models.
apiVersion: v1
kind: ConfigMap
metadata:
  name: {name}-serving
data:
  models.config: |
{models_config}
  batching_parameters.txt: |
{batching}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {name}
spec:
  replicas: 1
  selector:
    matchLabels: {{app: {name}}}
  template:
    metadata:
      labels: {{app: {name}}}
    spec:
      containers:
        - name: serving
          image: {image}
          args:
            - --model_config_file=/config/models.config
            - --enable_batching=true
            - --batching_parameters_file=/config/batching_parameters.txt
          ports:
            - {{name: grpc, containerPort: 8500}}
            - {{name: rest, containerPort: 8501}}
          # The server listens once the model is loaded and its warm-up requests have run.
          startupProbe:
            httpGet: {{path: /v1/models/{name}, port: rest}}
            periodSeconds: 5
            failureThreshold: 60
          readinessProbe:
            httpGet: {{path: /v1/models/{name}, port: rest}}
            periodSeconds: 5
          livenessProbe:
            httpGet: {{path: /v1/models/{name}, port: rest}}
            periodSeconds: 10
            failureThreshold: 6
          resources:
            requests: {{cpu: "2", memory: 2Gi}}
            limits: {{memory: 4Gi}}
          volumeMounts:
            - {{name: models, mountPath: /models, readOnly: true}}
            - {{name: config, mountPath: /config, readOnly: true}}
      volumes:
        - name: models
          persistentVolumeClaim: {{claimName: {name}-models, readOnly: true}}
        - name: config
          configMap: {{name: {name}-serving}}
---
apiVersion: v1
kind: Service
metadata:
  name: {name}
spec:
  selector: {{app: {name}}}
  ports:
    - {{name: grpc, port: 8500, targetPort: grpc}}
    - {{name: rest, port: 8501, targetPort: rest}}
"""


def kit_files(output: Path, folder: Path) -> dict[str, str]:
    """Returns the content of every file of the kit by its name.

    Args:
        output: folder of the model's versions; its name is the model's.
        folder: of the kit.

    Raises:
        InputError: the name cannot be one of a Kubernetes object.
    """
    name = output.resolve().name
    # RFC 1123: the strictest of the places where the name is used.
    is_label = name.replace("-", "").isalnum() and name.isascii() and name == name.lower().strip("-")
    if not is_label or len(name) > 50:
        raise InputError(
            "With --kit the last folder of --output, the model's name, has only lower-case letters, digits "
            f"and '-', as Kubernetes asks. Received: --output={output}. Choose another name."
        )
    allowed = "\n".join(f"allowed_batch_sizes: {size}" for size in ALLOWED_BATCH_SIZES)
    models_config = MODELS_CONFIG.format(name=name)
    batching = BATCHING.format(max_batch_size=ALLOWED_BATCH_SIZES[-1], allowed=allowed)
    names = {"name": name, "image": IMAGE}
    return {
        "models.config": models_config,
        "batching_parameters.txt": batching,
        "docker-compose.yaml": COMPOSE.format(output=output.resolve(), kit=folder.resolve(), **names),
        "kubernetes.yaml": KUBERNETES.format(
            models_config=_indented(models_config), batching=_indented(batching), **names
        ),
    }


def write_kit(output: Path, folder: Path) -> None:
    """Writes the kit; files that are there already, and are the same, stay.

    Raises:
        InputError: a file of the kit is there with another content, or see `kit_files`.
    """
    contents = kit_files(output, folder)
    for name, text in contents.items():
        if (folder / name).is_file() and (folder / name).read_text() != text:
            raise InputError(
                f"A kit never replaces a file that was edited. Received: {folder / name}, which differs from "
                "what would be written. Give a new folder to --kit, or remove the file."
            )
    for name, text in contents.items():
        files.write_text(folder / name, text)


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.rstrip().splitlines())
