"""Does not leave when it is told to."""

import time

from polite import Polite


class Worker(Polite):
    def leave(self):
        time.sleep(10_000)


if __name__ == "__main__":
    Worker().main()
