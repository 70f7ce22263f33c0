"""Never answers, and ignores every signal that can be ignored."""

import signal
import time

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(10_000)


if __name__ == "__main__":
    Worker().main()
