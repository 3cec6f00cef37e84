"""The paper's figures, one function each: arrays in, a matplotlib Figure out, and the docstring is the caption.

No function opens a file, uses pyplot or touches matplotlib's settings; save with ``figure.savefig(path, dpi=150)``.
"""

from peculiar.figures.images import as_color, figure_images, figure_samples, sample_grid
from peculiar.figures.plots import figure_losses, figure_recovery, figure_scores, figure_weight_sweep
from peculiar.figures.ranked import choose_disagreement, figure_disagreement, figure_rows, figure_top

__all__ = [
    "as_color",
    "choose_disagreement",
    "figure_disagreement",
    "figure_images",
    "figure_losses",
    "figure_recovery",
    "figure_rows",
    "figure_samples",
    "figure_scores",
    "figure_top",
    "figure_weight_sweep",
    "sample_grid",
]
