"""Writes a megabyte of log in one line."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        self.write("x" * 1_000_000)
        self.say(answer)


if __name__ == "__main__":
    Worker().main()
