"""Survey archives: what to ask them for, and how what they answer is checked; a module an archive."""
