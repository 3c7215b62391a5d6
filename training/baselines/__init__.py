"""The systems that AMNL is compared with, a file each: `fit(problem, settings, seed, progress)` gives a scorer."""
