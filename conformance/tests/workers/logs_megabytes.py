"""Writes megabytes to its standard error all the time."""

import sys

from polite import Polite


class Worker(Polite):
    def say(self, answer):
        sys.stderr.write("y" * 300_000 + "\n")
        super().say(answer)


if __name__ == "__main__":
    Worker().main()
