"""The training text of the built-in model. All prose here is our own."""
