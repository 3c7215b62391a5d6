"""Past one machine: what docs/scale.md says, measured and computed."""
