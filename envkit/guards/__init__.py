"""Guards: what is looked at before anybody trusts a pack. A rule is a function of findings."""
