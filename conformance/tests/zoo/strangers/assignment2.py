import numpy as np


class BatchNorm:
    """cs231n-ish batchnorm with manual backward"""

    def __init__(self, dim, eps=1e-5, momentum=0.1):
        self.gamma = np.ones(dim)
        self.beta = np.zeros(dim)
        self.running_mean = np.zeros(dim)
        self.running_var = np.ones(dim)
        self.eps = eps
        self.momentum = momentum
        self.mode = "train"

    def train(self):
        self.mode = "train"

    def eval(self):
        self.mode = "test"

    def forward(self, x):
        if self.mode == "train":
            mu = x.mean(axis=0)
            var = x.var(axis=0)
            n = x.shape[0]
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mu
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var * n / (
                n - 1
            )
        else:
            mu, var = self.running_mean, self.running_var
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mu) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        dgamma = (dout * self.xhat).sum(axis=0)
        dbeta = dout.sum(axis=0)
        dxhat = dout * self.gamma
        if self.mode == "train":
            n = dout.shape[0]
            dx = (n * dxhat - dxhat.sum(axis=0) - self.xhat * (dxhat * self.xhat).sum(axis=0)) / (
                n * self.std
            )
        else:
            dx = dxhat / self.std
        return dx, dgamma, dbeta
