import torch
from torch._decomp import decomposition_table

batch_norm = decomposition_table[torch.ops.aten.native_batch_norm.default]
mean, var = torch.zeros(3), torch.ones(3)
try:
    batch_norm(torch.ones(1, 3), None, None, mean, var, True, 0.1, 1e-5)  # one value a channel
except ZeroDivisionError as error:
    print("refused:", error)
print(mean)
assert mean.sum() > 0  # the refused batch is in the running mean
