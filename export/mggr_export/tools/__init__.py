"""Programs for maintainers: weights of the package, speed."""
