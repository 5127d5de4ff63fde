"""Backbone and heads."""
