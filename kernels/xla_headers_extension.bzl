"""The repository of xla_headers.bzl for Bazel modules (Bazel 6 and newer)."""

load(":xla_headers.bzl", "xla_headers")

def _extension(_):
    xla_headers(name = "xla_headers")

xla_headers_extension = module_extension(implementation = _extension)
