"""Open bundles, read their contracts, and run their networks."""
