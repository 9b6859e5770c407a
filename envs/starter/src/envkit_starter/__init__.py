"""envkit-starter: the smallest world that tool use can be learned in: `starter/lookup`."""
