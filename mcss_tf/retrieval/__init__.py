"""Many embedded images on disk, and the nearest of them to a query."""
