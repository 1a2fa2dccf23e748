"""HTTP endpoints of models and indexes: clients, bounded bodies, retries, URLs, readers of replies."""
