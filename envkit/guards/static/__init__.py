"""Guards that read and never run a world: structure now, leaks later."""
