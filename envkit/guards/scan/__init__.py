"""Scans: what stands where an agent could read it. `needles` looks for answers, `repository` for later history."""
