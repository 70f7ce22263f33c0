"""Writes fewer bytes than the shape has."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        y = answer["result"]["y"]
        y["data"] = y["data"][:8]
        self.say(answer)


if __name__ == "__main__":
    Worker().main()
