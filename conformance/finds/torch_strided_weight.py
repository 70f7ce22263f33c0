import torch

x = torch.tensor([[1.0, 1.0], [2.0, 2.0], [4.0, 4.0]], requires_grad=True)
dy = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
layer = torch.nn.BatchNorm1d(2)
(right,) = torch.autograd.grad(layer(x), x, dy)

pairs = torch.tensor([[1.0, 1e6], [1.0, 1e6]])
layer.weight = torch.nn.Parameter(pairs[:, 0])  # ones again: every second number of a tensor
(wrong,) = torch.autograd.grad(layer(x), x, dy)
print(right[:, 1], wrong[:, 1])
assert wrong[0, 1] > 1e5 * right[0, 1]  # multiplied by what lies beside the weight
