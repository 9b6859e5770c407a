"""Rollouts: trials, policies, the runner without barriers, and the record that survives it."""
