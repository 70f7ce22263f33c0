"""The exit codes of `bn1d`, a promise to scripts (the page "Exit codes and files")."""

CONFORMS, DIVERGES, WRONG_USE, KIT_ERROR = 0, 1, 2, 3
