"""Answers single-precision inputs with whole numbers."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        answer["result"]["y"]["dtype"] = "int32"
        self.say(answer)


if __name__ == "__main__":
    Worker().main()
