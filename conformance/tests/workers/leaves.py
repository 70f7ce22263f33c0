"""Ends in the middle of a call as if all were well."""

import sys

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        sys.exit(0)


if __name__ == "__main__":
    Worker().main()
