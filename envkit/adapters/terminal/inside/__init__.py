"""What runs inside the sandbox: standard library only, Python 3.9 or newer, sent in over stdin.

Nothing here may import envkit: `payload.py` sends these files as text, and the sandbox holds no
other copy of them. `keeper` makes namespaces, `walls` closes them, `supervisor` serves the host.
"""
