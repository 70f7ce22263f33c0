"""The commands of `bn1d`, but for the few that `cli` has itself; and what they share."""
