import os

os.environ["TRITON_INTERPRET"] = "1"
import torch
import triton
import triton.language as tl


@triton.jit
def cast(x, y):
    tl.store(y, tl.load(x).to(tl.bfloat16))


x, y = torch.tensor([1.444]), torch.zeros(1, dtype=torch.bfloat16)
cast[(1,)](x, y)
print(y.item(), "where", x.bfloat16().item(), "is nearest")
assert y.item() != x.bfloat16().item()
