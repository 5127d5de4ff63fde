#!/usr/bin/env bash
# Makes the environments that the peers need beside ours; a second call finds them whole and returns at once.
#   .venv-peers  tensorflow-addons 0.23.0, which imports only beside TensorFlow <= 2.15 and Python <= 3.11
#   .venv-torch  PyTorch and pytorch-metric-learning
set -euo pipefail
cd "$(dirname "$0")/../.."

python="${PYTHON:-python3.11}"
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
  echo "tensorflow-addons has no wheel after Python 3.11. Received: $("$python" --version 2>&1)." \
    "Give one: PYTHON=/path/to/python3.11 $0" >&2
  exit 1
}

# make_environment FOLDER REQUIREMENT...: the stamp is written last, so an interrupted installation is repeated.
make_environment() {
  local folder="$1"
  shift
  local stamp="$folder/installed"
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$*" ]; then
    return
  fi
  "$python" -m venv --clear "$folder"
  "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
  echo "$*" >"$stamp"
}

make_environment .venv-peers tensorflow-cpu==2.15.1 tensorflow-addons==0.23.0 'numpy<2'
make_environment .venv-torch torch==2.13.0 pytorch-metric-learning==2.9.0
