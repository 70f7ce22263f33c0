"""Is killed in one call, as from outside: once, or at every start."""

import os
import signal
import sys
from pathlib import Path

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        mark = Path(sys.argv[1])
        if not mark.exists() or "always" in sys.argv:
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        self.say(answer)


if __name__ == "__main__":
    Worker().main()
