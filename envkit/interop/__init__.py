"""envkit's environments as other frameworks know them. Each gets a facade over a `Trial`, never the Env itself."""
