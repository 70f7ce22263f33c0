"""Ends in the middle of a call, and says why."""

import os
import sys

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        sys.stderr.write("out of ideas\n")
        sys.stderr.flush()
        os._exit(3)


if __name__ == "__main__":
    Worker().main()
