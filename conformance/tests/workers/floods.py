"""Writes lines without end."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        while True:
            self.write("step")


if __name__ == "__main__":
    Worker().main()
