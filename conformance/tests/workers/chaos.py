"""Misbehaves at random: each request, by a hash of what it asks, is answered well or somehow else.

    python -S chaos.py SEED [ONE_IN]

The same request is answered alike after every start, so that a run can be had again.
"""

import hashlib
import json
import os
import signal
import sys
import time

from polite import Polite


class Worker(Polite):
    def __init__(self):
        super().__init__()
        self.seed, self.one_in = sys.argv[1], int([*sys.argv, "250"][2])

    def say(self, answer):
        asked = json.dumps(answer.get("result", {}), sort_keys=True)
        digest = hashlib.sha256((self.seed + asked).encode()).digest()
        strikes = int.from_bytes(digest[:4], "big") % self.one_in == 0
        if not strikes or "capabilities" in asked:
            super().say(answer)
            return
        deeds = (
            self.exit, self.segfault, self.hang, self.print, self.mistake, self.repeat,
            self.garble, self.nest, self.close, self.flood, self.shout, self.raise_, self.empty,
        )  # fmt: skip
        deeds[digest[4] % len(deeds)](answer)

    def exit(self, answer):
        os._exit(4)

    def segfault(self, answer):
        os.kill(os.getpid(), signal.SIGSEGV)

    def hang(self, answer):
        time.sleep(10_000)

    def print(self, answer):
        self.write("step 17")
        super().say(answer)

    def mistake(self, answer):
        super().say(dict(answer, id=answer["id"] + 1))

    def repeat(self, answer):
        super().say(answer)
        super().say(answer)

    def garble(self, answer):
        sys.stdout.buffer.write(b"\xff\xfe\n")
        sys.stdout.flush()

    def nest(self, answer):
        self.write("[" * 50_000)

    def close(self, answer):
        os.close(1)
        self.hang(answer)

    def flood(self, answer):
        while True:
            self.write("x" * 1000)

    def shout(self, answer):
        sys.stderr.write("y" * 5_000_000)
        super().say(answer)

    def raise_(self, answer):
        super().say(
            {"id": answer["id"], "error": {"type": "Bad\x00\ud800", "message": "\x1b[31m"}}
        )

    def empty(self, answer):
        super().say({"id": answer["id"], "result": {}})


if __name__ == "__main__":
    Worker().main()
