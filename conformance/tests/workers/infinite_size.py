"""Gives an array a size that no machine has."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        answer["result"]["y"]["shape"] = [10**30, 10**30]
        self.say(answer)


if __name__ == "__main__":
    Worker().main()
