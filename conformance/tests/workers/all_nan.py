"""Answers with NaN, whatever was asked."""

import base64
import struct

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        y = answer["result"]["y"]
        count = len(base64.b64decode(y["data"])) // 4
        y["data"] = base64.b64encode(struct.pack("<f", float("nan")) * count).decode("ascii")
        self.say(answer)


if __name__ == "__main__":
    Worker().main()
