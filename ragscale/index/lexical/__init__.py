"""BM25: terms, postings and their scores."""
