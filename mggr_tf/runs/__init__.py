"""Run folders: their files, records, locks, listings, and the provenance of their data."""
