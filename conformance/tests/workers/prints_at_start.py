"""Greets a person before it is greeted."""

from polite import Polite


class Worker(Polite):
    def start(self):
        self.write("Welcome to version 2!")


if __name__ == "__main__":
    Worker().main()
