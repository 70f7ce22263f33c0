"""Writes bytes that are no text."""

import sys

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        sys.stdout.buffer.write(b"\xff\xfe\x00\x80\n")
        sys.stdout.flush()


if __name__ == "__main__":
    Worker().main()
