"""Measurements whose both sides are taken in one run, so that ratios hold on any machine."""
