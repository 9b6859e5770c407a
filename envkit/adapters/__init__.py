"""Adapters: the real tools that a world is made of."""
