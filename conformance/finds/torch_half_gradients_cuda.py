import torch

torch.manual_seed(0)
x = torch.randn(8, 16, 3, device="cuda", dtype=torch.bfloat16, requires_grad=True)
dy = torch.randn_like(x)
layer = torch.nn.BatchNorm1d(16).cuda()  # weight and bias in single precision

layer(x).backward(dy)
right = dy.double().sum((0, 2))
error = (layer.bias.grad - right).abs().max().item()
print(f"bias.grad is off by {error}")
assert error > 1e-3  # a sum in single precision is off by 1e-6
