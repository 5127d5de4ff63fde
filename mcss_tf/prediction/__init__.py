"""From a video and an exported model to poses, embeddings and pictures."""
