"""Guards: rules that look at a pack before anybody trusts its rewards. A rule is a function that gives findings."""
