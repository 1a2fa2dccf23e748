"""Models that turn text into vectors or scores: embedder and cross-encoder."""
