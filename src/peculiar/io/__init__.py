"""Other people's files: readers, catalogs, exports."""
