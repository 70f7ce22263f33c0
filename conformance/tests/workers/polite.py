"""A worker that does everything right, made of steps that can each be got wrong.

Those that misbehave strike in the first training pass of a cumulative average (CTOR-10) or of a
layer that tracks nothing (TRAIN-11), and are polite everywhere else: what is asked before and
after must get its verdict all the same.
"""

import json
import sys
from pathlib import Path

WORKERS = Path(__file__).parents[2] / "workers"
sys.path[:0] = [str(WORKERS), str(WORKERS / "subjects")]

import bn1d_worker  # noqa: E402 - found there
from plain_python import Layer  # noqa: E402


class Polite:
    """Answers requests one by one, as bn1d_worker.py does."""

    def __init__(self):
        self.server = bn1d_worker.Server(Layer)

    def main(self):
        self.start()
        for line in sys.stdin:
            request = json.loads(line)
            answer = self.server.answer(request)
            if request["do"] == "forward" and self.strikes(request):
                self.strike(request, answer)
            else:
                self.say(answer)
            if request["do"] == "close" and "layer" not in request:
                self.leave()

    def start(self):
        """Before anything is asked."""

    def strikes(self, request):
        layer = self.server.layers[request["layer"]]
        return request["training"] and (layer.momentum is None or layer.count is None)

    def strike(self, request, answer):
        """Instead of the answer."""
        self.say(answer)

    def leave(self):
        sys.exit(0)

    def say(self, answer):
        self.write(json.dumps(answer))

    def write(self, text):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    Polite().main()
