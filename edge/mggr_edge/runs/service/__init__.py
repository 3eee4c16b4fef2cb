"""Services for unattended live runs: supervision, load shedding and hot reload."""
