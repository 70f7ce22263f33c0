"""What a person reads of results: in the terminal, as a script that reproduces, as a guide."""
