"""Never answers, nor does a process that it has started."""

import subprocess
import sys
import time

from polite import Polite


class Worker(Polite):
    def strike(self, request, answer):
        subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(10_000)"])
        time.sleep(10_000)


if __name__ == "__main__":
    Worker().main()
