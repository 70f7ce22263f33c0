"""Answers with the transpose."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        answer["result"]["y"]["shape"].reverse()
        self.say(answer)


if __name__ == "__main__":
    Worker().main()
