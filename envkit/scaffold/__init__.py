"""`envkit new`: a pack to begin with."""

from envkit.scaffold.new import new_pack

__all__ = ["new_pack"]
