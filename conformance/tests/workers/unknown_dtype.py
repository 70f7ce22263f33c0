"""Answers in a format that nobody knows."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        answer["result"]["y"]["dtype"] = "float31"
        self.say(answer)


if __name__ == "__main__":
    Worker().main()
