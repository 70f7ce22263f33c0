import torch

x = torch.full((4_000_000, 1), 0.1)  # one value: every output is 0 but for rounding
layer = torch.nn.BatchNorm1d(1)

flat = layer(x)
deep = layer(x.view(1, 1, -1))  # the same numbers as (N, C, L)
print(flat.abs().max().item(), deep.abs().max().item())
assert flat.abs().max() > 100 * deep.abs().max()
