"""Answers with an empty line."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        self.write("")


if __name__ == "__main__":
    Worker().main()
