"""Ends before it is asked anything."""

import sys

from polite import Polite


class Worker(Polite):
    def start(self):
        sys.exit("no licence found")


if __name__ == "__main__":
    Worker().main()
