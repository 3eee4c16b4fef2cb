"""Makes the weights that come with the package: `python -m mggr_export.tools.weights`."""
