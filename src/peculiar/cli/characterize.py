"""Commands that turn a list of high scores into kinds of things."""
