"""From a run folder to a proved bundle."""
