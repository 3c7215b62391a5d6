"""Routes by resource; no logic."""
