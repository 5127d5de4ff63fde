"""The header-only XLA FFI API, from the TensorFlow that a Python interpreter imports."""

_FIND = "import importlib.util as u; print(u.find_spec('tensorflow').submodule_search_locations[0] + '/include')"

_BUILD = """
load("@rules_cc//cc:defs.bzl", "cc_library")

cc_library(
    name = "ffi",
    hdrs = glob(["xla/ffi/api/*.h"]),
    includes = ["."],
    visibility = ["//visibility:public"],
)
"""

def _xla_headers(context):
    python = context.os.environ.get("PYTHON_BIN_PATH", "python3")
    found = context.execute([python, "-c", _FIND])
    if found.return_code != 0:
        fail("{} has no TensorFlow; name one that has: --repo_env=PYTHON_BIN_PATH=...\n{}".format(
            python,
            found.stderr,
        ))
    context.symlink(found.stdout.strip() + "/xla", "xla")
    context.file("BUILD", _BUILD)

xla_headers = repository_rule(
    implementation = _xla_headers,
    environ = ["PYTHON_BIN_PATH"],
    local = True,
)
