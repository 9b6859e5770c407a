"""The judge's room: processes of their own that make tasks, play scripts and grade. See `service`."""
