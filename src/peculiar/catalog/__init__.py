"""Tables for astronomers: what each column is, its unit and meaning."""
