"""Writes JSON that is a hundred thousand lists in one another."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        self.write("[" * 100_000 + "]" * 100_000)


if __name__ == "__main__":
    Worker().main()
