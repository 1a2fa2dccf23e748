"""Vector search: exact or by a FAISS factory string, on the processor or on GPUs."""
