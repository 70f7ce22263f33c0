"""`python -m bn1d_conformance` is the command `bn1d`."""

from bn1d_conformance.cli import main

main()
