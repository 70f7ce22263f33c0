import numpy as np


class Normalizer:
    """names nobody else uses: run with --map"""

    def __init__(self, width, tiny=1e-5, pace=0.1):
        self.stretch, self.lift = np.ones(width), np.zeros(width)
        self.centre_so_far, self.spread_so_far = np.zeros(width), np.ones(width)
        self.tiny, self.pace, self.training = tiny, pace, True

    def forward(self, x):
        if self.training:
            centre, spread, n = x.mean(0), x.var(0), len(x)
            self.centre_so_far = (1 - self.pace) * self.centre_so_far + self.pace * centre
            self.spread_so_far = (1 - self.pace) * self.spread_so_far + self.pace * spread * n / (
                n - 1
            )
        else:
            centre, spread = self.centre_so_far, self.spread_so_far
        return self.stretch * (x - centre) / np.sqrt(spread + self.tiny) + self.lift
