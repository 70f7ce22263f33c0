"""BatchNorm1d as it should be: an exact oracle, derived error bounds and the written spec.

Only the Python standard library is needed.  The modules, each with one job:

- `formats`: fp16, bf16, fp32, fp64; bits, exact rounding, ulp.
- `surd`: the numbers p + q*s with s = 1/sqrt(W), in which BatchNorm lives.
- `exact`: vectors of floats with exact sums, and a correctly rounded affine map.
- `nested`: nested lists of shape (N, C) or (N, C, L) to channels and back.
- `channel`: the textbook formulas for one channel.
- `oracle`: `BatchNorm1d`, a layer whose every result is rounded once.
- `errors`: what each step of a sound algorithm may lose.
- `bounds`: the largest error a backward stable algorithm may make.
- `spec`: the requirements, loaded from their TOML files.
"""

from __future__ import annotations

__version__ = "0.1.0"

#: Version of the written spec; results judged under different spec versions do not compare.
SPEC_VERSION = "0.1.0"
