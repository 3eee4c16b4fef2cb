"""Looking at runs that are there: which, what exactly they hold, and how two of them differ."""
