"""How the pickles beside this file were made, by pandas 0.20.3, 0.25.3, 1.1.5, 1.5.3, 2.3.3, 3.1.1: `make.py 2.3`.

In the words that Python 3.6 knows too.
"""

import pickle
import sys

import numpy as np
import pandas as pd

columns = {
    "HSC_object_id": np.array([43158859342174406, 43158859342174407, -5], dtype=np.int64),
    "ra": [150.1, 150.2, 359.999],
    "dec": [2.0, -2.0, 89.9],
    "discriminator_score_normalized": [3.5, 4.0, 5.0],
    "generator_score_normalized": [1.0, 2.0, 3.0],
    "combined_score_normalized": [0.5, 1.5, np.nan],
}
frame = pd.DataFrame(columns, index=pd.Index([51, 245, 285], name="idx"))


def write(what, name, protocol=4):
    """Pickle a frame."""
    with open("pandas-{}-{}.p".format(sys.argv[1], name), "wb") as file:  # noqa: UP032  (Python 3.6 has no other)
        pickle.dump(what, file, protocol)


for protocol in (2, 4, 5):
    if protocol <= pickle.HIGHEST_PROTOCOL:
        write(frame, f"p{protocol}", protocol)
frame["name"], frame["flag"], frame["f32"] = ["a", "b", "c"], [True, False, True], np.array([1, 2, 3], np.float32)
write(frame, "mixed")
write(frame.reset_index(), "range")
