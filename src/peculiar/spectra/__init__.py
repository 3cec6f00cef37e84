"""Follow-up: what the lines of a spectrum say of a galaxy. METHOD.md sect. 7; Storey-Fisher et al. 2021, sect. 5."""
