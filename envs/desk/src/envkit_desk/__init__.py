"""envkit-desk: desk work in a terminal, as environments: `desk/logdesk` and `desk/bugfix`."""
