"""Answers with JSON that is no object."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        self.write("[1, 2, 3]")


if __name__ == "__main__":
    Worker().main()
