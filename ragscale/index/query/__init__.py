"""One search: the request, the batches, the engine, filters and diversity."""
