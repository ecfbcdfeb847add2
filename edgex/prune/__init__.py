"""Channel pruning: which channels of a graph hang together, how important each is, which go, and removing them."""
