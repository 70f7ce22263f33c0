"""Does not even say hello."""

import time

from polite import Polite


class Worker(Polite):
    def start(self):
        time.sleep(10_000)


if __name__ == "__main__":
    Worker().main()
