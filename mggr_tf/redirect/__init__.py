"""Pictures of eyes, redirected by a run."""
