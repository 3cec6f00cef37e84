from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.ensemble import IsolationForest

from peculiar.scoring.evaluation import auroc, rank_correlation
from peculiar.scoring.forest import EULER, Forest, average_path_length, grow


def normal(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def samples_of(vectors, *, n_trees=100, size=256, seed=0):
    random = np.random.default_rng(seed)
    size = min(size, len(vectors))
    return np.stack([vectors[random.choice(len(vectors), size, replace=False)] for _ in range(n_trees)])


def grown(vectors, *, level=-1, n_trees=100, size=256, seed=0, **options):
    return grow(samples_of(vectors, n_trees=n_trees, size=size, seed=seed), extension_level=level, seed=seed, **options)


def planted(seed, n=2_000, n_odd=60):
    """Components alike two by two, and objects that break this, odd in no single component."""
    random = np.random.default_rng(seed)
    first = random.normal(size=(n + n_odd, 4))
    second = first + 0.3 * random.normal(size=first.shape)
    second[n:] = second[:, :1].std() * random.normal(size=(n_odd, 4))
    return np.concatenate([first, second], axis=1).astype(np.float32), np.arange(n + n_odd) >= n


def path_by_hand(forest, tree, vector):
    """Length of one path, and the components and sizes on it, by the definition."""
    place = ((vector.astype(np.float64) - forest.center) / forest.scale).astype(np.float32)
    link, path = forest.roots[tree], []
    while link >= 0:
        direction = np.zeros(len(vector))
        used = forest.components[link] if len(forest.components) else slice(None)
        direction[used] = forest.normals[link]
        cut = link
        link = forest.children[cut, int(place @ direction >= forest.thresholds[cut])]
        path.append(
            (np.abs(direction), forest.sizes[cut], forest.sizes[link] if link >= 0 else forest.end_sizes[~link])
        )
    n_left = forest.end_sizes[~link]
    rest = 0.0 if n_left < 2 else 1.0 if n_left == 2 else 2 * (np.log(n_left - 1) + EULER) - 2 * (n_left - 1) / n_left
    return len(path) + rest, path


def longest_path(forest):
    depth = np.zeros(len(forest.thresholds), int)
    for cut, links in enumerate(forest.children):  # children stand after their parents
        depth[[link for link in links if link >= 0]] = depth[cut] + 1
    return depth.max() + 1


# The parts.


def test_the_average_path_length_is_that_of_the_papers():
    assert_array_equal(average_path_length(np.array([0, 1, 2])), [0, 0, 1])
    assert average_path_length(np.array(256)) == pytest.approx(10.244770920116851)  # scikit-learn's for 256
    from sklearn.ensemble._iforest import _average_path_length

    assert_allclose(average_path_length(np.arange(500)), _average_path_length(np.arange(500)))


@pytest.mark.parametrize("level", [0, 2, -1])
def test_scores_and_explanations_are_those_of_walking_every_tree_by_hand(level):
    vectors = normal(300, 6)
    forest = grown(vectors, level=level, n_trees=7, size=100)
    some = vectors[:20] * np.linspace(0.2, 3, 20, dtype=np.float32)[:, None]
    paths = [[path_by_hand(forest, tree, each) for tree in range(7)] for each in some]
    lengths = np.array([[length for length, _ in trees] for trees in paths])
    assert_allclose(forest.depths(some), lengths.mean(axis=1))
    assert_allclose(forest.score(some), 2 ** (-lengths.mean(axis=1) / average_path_length(np.array(100))))
    expected = []
    for trees in paths:
        cuts = [cut for _, path in trees for cut in path]
        leans = np.array([lean for lean, _, _ in cuts])
        bits = np.array([np.log2((before + 1) / (after + 1)) for _, before, after in cuts])
        used = leans.sum(axis=0)
        expected.append(np.divide(bits @ leans, used, out=np.zeros(6), where=used > 0))
    assert_allclose(forest.explain(some), expected, rtol=1e-5)


@pytest.mark.parametrize("level", [0, 1, 3, -1])
def test_cuts_lean_on_as_many_components_as_the_level_says_drawn_evenly(level):
    forest = grown(normal(500, 5), level=level, n_trees=60)
    n_used = 5 if level == -1 else level + 1
    assert forest.normals.shape == (len(forest.thresholds), n_used)
    assert_allclose(np.linalg.norm(forest.normals, axis=1), 1, rtol=1e-5)
    assert abs(forest.normals.mean()) < 0.03
    if level == -1:
        assert len(forest.components) == 0
    else:
        assert all(len(set(row)) == n_used for row in forest.components.tolist())
        counts = np.bincount(forest.components.ravel(), minlength=5)
        assert_allclose(counts / counts.sum(), 0.2, atol=0.02)


@pytest.mark.parametrize(("size", "limit"), [(256, 8), (200, 8), (129, 8), (128, 7), (2, 1), (3, 2)])
def test_the_depth_limit_is_the_logarithm_of_the_samples_size(size, limit):
    vectors = normal(300, 3)
    forest = grown(vectors, size=size, n_trees=20)
    assert forest.sample_size == size
    assert longest_path(forest) == limit
    told = grown(vectors, size=size, n_trees=20, max_depth=limit + 1)
    assert longest_path(told) == limit + 1  # two objects need not be parted by a cut: a side may be empty


@pytest.mark.parametrize("level", [0, -1])
def test_every_sampled_object_comes_to_an_end_and_is_counted_there(level):
    vectors = normal(256, 4)
    forest = grow(np.stack([vectors] * 5), extension_level=level, seed=0)
    assert forest.end_sizes.sum() == 5 * 256
    assert_array_equal(forest.sizes[forest.roots], 256)

    def size(link):
        return forest.sizes[link] if link >= 0 else forest.end_sizes[~link]

    for cut, (left, right) in enumerate(forest.children):
        assert size(left) + size(right) == forest.sizes[cut]
    paths = np.mean([[path_by_hand(forest, tree, each)[0] for tree in range(5)] for each in vectors], axis=1)
    assert_allclose(forest.depths(vectors), paths)
    if level == -1:
        assert (forest.end_sizes == 0).any()  # a corner of the box may be empty, and its cut is kept


# Agreement and freedom from bias.


def test_level_0_is_the_standard_forest_within_the_scatter_of_forests():
    ours, others, theirs, truths = [], [], [], []
    for seed in range(4):
        vectors, is_odd = planted(seed)
        vectors[is_odd] *= 1.5
        ours.append(grown(vectors, level=0, seed=seed).score(vectors))
        others.append(grown(vectors, level=0, seed=seed + 100).score(vectors))
        standard = IsolationForest(n_estimators=100, max_samples=256, random_state=seed).fit(vectors)
        theirs.append(-standard.score_samples(vectors))
        truths.append(is_odd)

    def mean_of(measure, first, second):
        return np.mean([measure(*each) for each in zip(first, second, strict=True)])

    def area_between(first, second):
        return np.mean([abs(auroc(a, t) - auroc(b, t)) for a, b, t in zip(first, second, truths, strict=True)])

    assert mean_of(rank_correlation, ours, theirs) > mean_of(rank_correlation, ours, others) - 0.01
    assert area_between(ours, theirs) < 2 * area_between(ours, others) + 0.01
    assert_allclose(np.mean(ours), np.mean(theirs), atol=0.006)  # not their order alone


def test_oddities_off_the_axes_are_found_better_by_oblique_cuts():
    areas = {0: [], -1: []}
    for seed in range(3):
        vectors, is_odd = planted(seed)
        for level, found in areas.items():
            found.append(auroc(grown(vectors, level=level, seed=seed).score(vectors), is_odd))
    assert np.mean(areas[-1]) > np.mean(areas[0]) + 0.03


def test_scores_at_equal_distance_from_a_blob_vary_less_with_the_extended_forest():
    """The bands along the axes of Hariri et al. 2019 in a number: the variance along a circle."""
    vectors = normal(4_000, 2)
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    standard, extended = (grown(vectors, level=level, n_trees=300) for level in (0, 1))
    for radius, times in ((3.0, 1.5), (4.0, 10), (5.0, 10)):
        assert standard.score(radius * circle).var() > times * extended.score(radius * circle).var(), radius


@pytest.mark.parametrize(("d", "level"), [(6, 0), (6, 2), (6, -1), (40, -1)])
def test_an_object_that_is_odd_in_one_component_is_explained_by_that_one(d, level):
    vectors = normal(2_000, d)
    axes = np.arange(12) % d
    vectors[np.arange(12), axes] += 8 * (-1) ** np.arange(12)
    forest = grown(vectors, level=level, n_trees=200)
    assert_array_equal(forest.explain(vectors[:12]).argmax(axis=1), axes)


def test_an_isolated_object_scores_high_and_a_central_one_low():
    vectors = normal(1_000, 5)
    score = grown(vectors).score(np.stack([np.zeros(5), np.full(5, 30.0)]))
    assert score[0] < 0.45
    assert score[1] > 0.65


def test_units_and_origins_of_components_do_not_matter_when_standardized_and_do_otherwise():
    vectors = normal(600, 4).astype(np.float64)
    units, origin = np.array([1e-3, 1, 50, 1e4]), np.array([0, 1e3, -7, 1e6])
    samples = samples_of(vectors)
    plain = grow(samples, extension_level=-1, seed=0).score(vectors)
    scaled = grow(samples * units + origin, extension_level=-1, seed=0)
    assert rank_correlation(scaled.score(vectors * units + origin), plain) > 0.999
    raw = grow(samples * units, extension_level=-1, seed=0, is_standardized=False)
    largest_odd = np.array([[0, 0, 0, 8e4], [8e-3, 0, 0, 0]])
    found = raw.score(largest_odd)
    assert found[0] > found[1] + 0.1  # one component decides, the other is not seen


# Determinism.


@pytest.mark.parametrize("level", [0, 3, -1])
def test_one_seed_makes_one_forest_and_another_seed_another(level):
    samples = samples_of(normal(400, 6), n_trees=10)
    first, second, third = (grow(samples, extension_level=level, seed=seed).tensors() for seed in (5, 5, 6))
    for name, values in first.items():
        assert_array_equal(values, second[name])
    assert not np.array_equal(first["children"], third["children"])


@pytest.mark.parametrize("level", [1, -1])
def test_a_score_does_not_depend_on_company_order_layout_or_thread(level):
    vectors = normal(3_000, 37)  # no multiple of a vector register
    forest = grown(vectors, level=level, n_trees=20)
    whole = forest.score(vectors)
    assert_array_equal(forest.score(vectors[::-1])[::-1], whole)
    assert_array_equal(forest.score(np.asfortranarray(vectors)), whole)
    assert_array_equal(
        np.concatenate([forest.score(vectors[start : start + 7]) for start in range(0, 70, 7)]), whole[:70]
    )
    with ThreadPoolExecutor(4) as threads:
        parts = list(threads.map(forest.score, np.array_split(vectors, 9)))
    assert_array_equal(np.concatenate(parts), whole)
    assert_array_equal(forest.explain(vectors[5:6])[0], forest.explain(vectors[:50])[5])


@pytest.mark.parametrize("level", [0, -1])
def test_a_forest_survives_its_tensors(level):
    vectors = normal(400, 5)
    forest = grown(vectors, level=level, n_trees=10)
    again = Forest.from_tensors({**forest.tensors(), "medians": np.zeros(5)})
    assert_array_equal(again.score(vectors), forest.score(vectors))
    assert_array_equal(again.explain(vectors[:9]), forest.explain(vectors[:9]))


# Awkward input.


@pytest.mark.parametrize("level", [0, -1])
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6, 3e30])
def test_constant_data_have_one_score_and_whatever_differs_a_higher_one(value, level):
    vectors = np.full((300, 3), value, np.float32)
    forest = grown(vectors, level=level)
    scores = forest.score(vectors)
    assert (scores == scores[0]).all()
    # All go down together to the limit, 8, and c(256) is added: the paths of a sample of 256 that nothing parts.
    assert_allclose(scores, 2 ** (-(8 + average_path_length(np.array(256))) / average_path_length(np.array(256))))
    assert (forest.score(vectors[:2] + np.float32(max(abs(value), 1))) > scores[0] + 0.1).all()


@pytest.mark.parametrize("level", [0, 1, -1])
def test_duplicates_are_not_taken_for_oddities(level):
    """Knots of equal objects lie on the cuts of their own box: rounding must not send them where none was sampled."""
    knots = np.repeat(normal(2, 33), 150, axis=0)
    depths = grown(knots, level=level, size=300).depths(knots)
    assert (depths >= 9 + average_path_length(np.array(150)) - 1e-9).all()  # all the way down, in every tree
    vectors = np.concatenate([knots, normal(20, 33, seed=1)])
    scores = grown(vectors, level=level).score(vectors)
    assert np.ptp(scores[:150]) == np.ptp(scores[150:300]) == 0
    assert scores[:300].max() < scores[300:].min()


def test_one_component_is_cut_at_every_level():
    vectors = normal(500, 1)
    vectors[0] = 9
    for level in (0, -1):
        assert grown(vectors, level=level).score(vectors).argmax() == 0


def test_a_small_sample_a_constant_component_and_no_objects_are_fine():
    vectors = normal(5, 3)
    vectors[:, 1] = 4
    forest = grown(vectors)
    assert forest.sample_size == 5
    assert np.isfinite(forest.score(vectors)).all()
    assert forest.score(np.empty((0, 3), np.float32)).shape == (0,)
    assert forest.explain(np.empty((0, 3), np.float32)).shape == (0, 3)
    assert np.isfinite(forest.score(np.full((2, 3), 1e300))).all()  # beyond float32


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    arrays(
        np.float32,
        st.tuples(st.just(3), st.integers(2, 12), st.integers(1, 4)),
        elements=st.floats(-1e9, 1e9, width=32),
    ),
    st.booleans(),
    st.integers(-1, 0),
)
def test_whatever_the_sample_scores_lie_from_0_to_1_and_equal_objects_share_one(samples, is_standardized, level):
    forest = grow(samples, extension_level=level, is_standardized=is_standardized, seed=0)
    rows = samples.reshape(-1, samples.shape[2])
    scores = forest.score(np.concatenate([rows, rows]))
    assert ((scores > 0) & (scores <= 1)).all()
    assert_array_equal(scores[: len(rows)], scores[len(rows) :])
    assert (forest.explain(rows) >= 0).all()
    assert forest.end_sizes.sum() == samples.shape[0] * samples.shape[1]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_vectors_that_are_no_numbers_are_refused_and_counted(bad):
    vectors = normal(50, 3)
    forest = grown(vectors, n_trees=3)
    vectors[[4, 7], 1] = bad
    with pytest.raises(ValueError, match="2 of 50 rows are not"):
        forest.score(vectors)
    with pytest.raises(ValueError, match="2 of 50 rows are not"):
        forest.explain(vectors)
    with pytest.raises(ValueError, match="rows are not"):
        grown(vectors, n_trees=3)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((5, 1, 3), {}, "2 objects or more"),
        ((0, 9, 3), {}, "2 objects or more"),
        ((5, 9, 3), {"extension_level": 3}, "extension_level must be from -1 to 2"),
        ((5, 9, 3), {"extension_level": -2}, "got -2"),
        ((5, 9, 3), {"max_depth": -1}, "max_depth"),
    ],
)
def test_what_cannot_be_grown_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        grow(np.zeros(shape, np.float32), **{"extension_level": -1, "seed": 0, **options})


def test_vectors_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"vectors must be \(n, 3\)"):
        grown(normal(50, 3), n_trees=3).score(normal(5, 4))
