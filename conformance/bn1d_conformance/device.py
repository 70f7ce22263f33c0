"""What is said when no call of a process can use its device any more: CUDA's sticky errors.

Every later call would fail for the first one's fault, so the process is ended and replaced, and
the case at hand is named. Answers are copied back to the host after each call, which waits for
the device: the call that says it is the call that did it.
"""

from __future__ import annotations

import os
import re
from typing import NoReturn

#: Of cudaGetErrorString and cuGetErrorName (CUDA 12), for errors after which "the process must be
#: terminated and relaunched"; HIP says the same.
STICKY = re.compile(
    r"illegal memory access|illegal instruction was encountered|device-side assert"
    r"|unspecified launch failure|misaligned address|launch timed out|hardware stack error"
    r"|invalid program counter|operation not supported on global/shared address space"
    r"|uncorrectable ECC|CUDA_ERROR_(ILLEGAL|LAUNCH|MISALIGNED|ASSERT|HARDWARE|INVALID_PC)",
    re.IGNORECASE,
)
SIGN = "The device is lost: "
STATUS = 70  # of a process that ends for it


def is_lost(said: str) -> bool:
    """Whether a message says that the device is of no use to this process any more."""
    return bool(STICKY.search(said))


def give_up(said: str) -> NoReturn:
    """End this process; who replaces it reads why in the log."""
    os.write(2, f"\n{SIGN}{said}\n".encode("utf-8", "replace"))
    os._exit(STATUS)
