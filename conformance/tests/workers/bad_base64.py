"""Writes an array that is no base64."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        answer["result"]["y"]["data"] = "%%%"
        self.say(answer)


if __name__ == "__main__":
    Worker().main()
