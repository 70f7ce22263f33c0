"""Never answers."""

import time

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        time.sleep(10_000)


if __name__ == "__main__":
    Worker().main()
