"""Closes its output, and lives on."""

import os
import time

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        os.close(1)
        time.sleep(10_000)


if __name__ == "__main__":
    Worker().main()
