"""Public data sets as problems; the data is not part of this project: commands take a path."""
