"""Stands in for rules_cc where it cannot be fetched: Bazel up to 7 has these rules built in.

Bazel 4's own toolchain definitions load the last three. See the target `bazel` of kernels/Makefile.
"""

cc_binary = native.cc_binary
cc_library = native.cc_library
cc_test = native.cc_test
cc_import = native.cc_import
cc_toolchain = native.cc_toolchain
cc_toolchain_suite = native.cc_toolchain_suite
