"""The served model: signatures and clients."""
