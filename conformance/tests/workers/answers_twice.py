"""Answers, and answers again."""

import sys

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        for _ in range(2):
            self.say(answer)
        sys.stdout.flush()


if __name__ == "__main__":
    Worker().main()
