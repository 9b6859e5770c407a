"""A shop: one app over one state, worked at by typed tools, in a browser and from a terminal."""
