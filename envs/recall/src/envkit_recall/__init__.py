"""envkit-recall: what was told in one conversation and is needed in a later one: `recall/fact`."""
