"""Programs for maintainers: the package's weights, and speed measurements."""
