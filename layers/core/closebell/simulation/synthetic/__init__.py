"""A market drawn from a seed: listings, prices, incidents and headlines."""
