"""Answers another request than was asked."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        self.say(dict(answer, id=request["id"] + 1))


if __name__ == "__main__":
    Worker().main()
