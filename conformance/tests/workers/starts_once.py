"""Ends in one call, and at every later start."""

import os
import sys
from pathlib import Path

from polite import Polite


class Worker(Polite):
    def start(self):
        self.mark = Path(sys.argv[1])
        if self.mark.exists():
            sys.exit("no second licence")

    def strike(self, request, answer):
        self.mark.touch()
        os._exit(3)


if __name__ == "__main__":
    Worker().main()
