"""Two dimensions to look at: projections of feature vectors, and the clusters in them."""
