"""Dies of a segmentation fault."""

import os
import signal

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        os.kill(os.getpid(), signal.SIGSEGV)


if __name__ == "__main__":
    Worker().main()
