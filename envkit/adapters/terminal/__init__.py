"""The terminal adapter: a persistent shell, files, jobs and PTY programs in a sandbox."""
