"""What a bundle holds beside its models."""
