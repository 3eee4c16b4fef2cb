"""Programs for maintainers: train the package's weights, and measure speed."""
