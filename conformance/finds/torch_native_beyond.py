import torch

memory = torch.tensor([1.0, 2.0, 3.0, 900.0])  # the last number is somebody else's
weight, bias = memory[:3], torch.zeros(4)[:3]
mean, var = torch.zeros(4)[:3], torch.ones(4)[:3]
x = torch.ones(2, 4)  # four channels, for a layer of three

y, *_ = torch.native_batch_norm(x, weight, bias, mean, var, False, 0.1, 0.0)
print(y[0])
assert y[0, 3] == 900.0  # read beyond the end of weight
