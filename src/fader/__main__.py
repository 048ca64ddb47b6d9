"""python -m fader: the same as the command `fader`."""

import sys

from fader.cli import main

if __name__ == "__main__":
    sys.exit(main())
