"""The files of an index: manifest, passages, vectors, checksums and locks."""
