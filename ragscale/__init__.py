"""ragscale: every test-time scaling strategy for multi-hop QA on one index, one model and one honest ledger."""
