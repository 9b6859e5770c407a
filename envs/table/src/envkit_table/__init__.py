"""envkit-table: several agents at one table, as environments: `table/bargain`."""
