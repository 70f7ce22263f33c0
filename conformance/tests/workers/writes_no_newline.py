"""Writes ten megabytes, and no end of the line."""

import sys

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        sys.stdout.write("x" * 10_000_000)
        sys.stdout.flush()


if __name__ == "__main__":
    Worker().main()
