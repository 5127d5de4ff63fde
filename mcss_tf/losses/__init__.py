"""Losses on embeddings and poses."""
