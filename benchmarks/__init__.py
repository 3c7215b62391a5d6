"""What performance claims rest on: side by side with a peer or the floor, in one run."""
