"""`python -m envkit`: the command line, where no script is on the path."""

import sys

from envkit.cli import main

sys.exit(main())
