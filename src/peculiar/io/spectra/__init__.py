"""Spectra of other people's files: what they hold, told by content, as one `Spectrum`."""

from peculiar.io.spectra.reading import read_spectrum, write_spectrum

__all__ = ["read_spectrum", "write_spectrum"]
