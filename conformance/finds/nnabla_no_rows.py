import signal
import subprocess
import sys

code = """
import nnabla as nn
from nnabla.functions import batch_normalization
tensors = [nn.Variable((1, 3)) for _ in range(4)]
batch_normalization(nn.Variable((0, 3)), *tensors).forward()
"""
ran = subprocess.run([sys.executable, "-c", code], check=False)
assert ran.returncode == -signal.SIGFPE
