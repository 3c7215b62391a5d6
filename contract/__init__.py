"""What trainer and service must agree on; imports neither torch nor fastapi."""
