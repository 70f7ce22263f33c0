"""The kit that judges any BatchNorm1d against `bn1d_reference`."""

__version__ = "0.1.0"
