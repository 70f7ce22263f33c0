"""Writes a line for a person before its answer."""

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        self.write("epoch 1: loss 0.693")
        self.say(answer)


if __name__ == "__main__":
    Worker().main()
