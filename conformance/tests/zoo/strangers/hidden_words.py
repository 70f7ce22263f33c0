import torch


class Normalizer(torch.nn.Module):
    """a module whose statistics have names nobody else uses, judged without --map"""

    def __init__(self, channels, eps=1e-5, momentum=0.1):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(channels))
        self.bias = torch.nn.Parameter(torch.zeros(channels))
        self.register_buffer("centre_so_far", torch.zeros(channels))
        self.register_buffer("spread_so_far", torch.ones(channels))
        self.eps, self.momentum = eps, momentum

    def forward(self, x):
        centre, spread = self.centre_so_far, self.spread_so_far
        if self.training:
            centre, spread = x.mean(0), x.var(0, unbiased=False)
            self.centre_so_far.lerp_(centre.detach(), self.momentum)
            self.spread_so_far.lerp_(x.detach().var(0), self.momentum)
        return (x - centre) / torch.sqrt(spread + self.eps) * self.weight + self.bias
