"""The built-in multi-view studio."""
