"""What a person reads of results: in the terminal, and as a script that reproduces a failure."""
