import sys

import numpy as np
import pytest

from peculiar.sky.galaxies import (
    PIXEL_ARCSEC,
    RADIUS_RANGE,
    STAR_FRACTION,
    Cloud,
    Sersic,
    band_flux,
    draw_neighbors,
    draw_target,
    split,
)
from peculiar.sky.oddities import ARTEFACTS, ASTROPHYSICAL, plant, stain
from peculiar.sky.rgb import lupton
from peculiar.sky.simulate import (
    ELECTRONS,
    SKY_SIGMA,
    half_light_radius,
    paint,
    plan_survey,
    require_galsim,
    simulate_cutout,
)

SEED = 7


def needs_galsim() -> None:
    pytest.importorskip("galsim")


def rows_of(planted_class: str, strength: float, n_rows: int) -> np.ndarray:
    plan = plan_survey(n_rows, odd_fraction=0.0, seed=SEED)
    plan["planted_class"], plan["planted_strength"] = planted_class, strength
    plan["planted_kind"] = "astrophysical" if planted_class in ASTROPHYSICAL else "artefact"
    return plan


# --- the plan


@pytest.mark.parametrize(("n_objects", "odd_fraction", "n_odd"), [(2000, 0.014, 28), (777, 0.1, 78), (30, 1.0, 30)])
def test_exactly_the_fraction_asked_for_is_odd_and_classes_take_turns(
    n_objects: int, odd_fraction: float, n_odd: int
) -> None:
    plan = plan_survey(n_objects, odd_fraction=odd_fraction, seed=SEED)
    odd = plan[plan["planted_class"] != ""]
    names, counts = np.unique(odd["planted_class"], return_counts=True)
    assert len(odd) == n_odd
    assert set(names) == set(ASTROPHYSICAL | ARTEFACTS)
    assert counts.max() - counts.min() <= 1


def test_strengths_stay_in_the_declared_range_and_fill_it() -> None:
    plan = plan_survey(4000, odd_fraction=1.0, seed=SEED)
    for name, (low, high) in (ASTROPHYSICAL | ARTEFACTS).items():
        rows = plan[plan["planted_class"] == name]
        position = np.log(rows["planted_strength"] / low) / np.log(high / low)
        assert 0.0 <= position.min() < 0.03
        assert 0.97 < position.max() <= 1.0
        assert abs(position.mean() - 0.5) < 0.07
        assert set(rows["planted_kind"]) == {"astrophysical" if name in ASTROPHYSICAL else "artefact"}


def test_normal_objects_have_no_strength_and_no_kind() -> None:
    plan = plan_survey(500, odd_fraction=0.1, seed=SEED)
    normal = plan[plan["planted_class"] == ""]
    assert (normal["planted_strength"] == 0.0).all()
    assert (normal["planted_kind"] == "").all()


def test_ids_are_unique_positive_and_beyond_what_a_float_holds() -> None:
    ids = plan_survey(20_000, seed=SEED)["object_id"]
    assert ids.dtype == np.int64
    assert len(np.unique(ids)) == 20_000
    assert {len(str(object_id)) for object_id in ids} == {17}
    assert ids.min() > 2**53


def test_positions_are_apart_and_as_dense_as_the_survey() -> None:
    plan = plan_survey(20_000, seed=SEED)
    width, height = np.ptp(plan["ra"]), np.ptp(plan["dec"])
    assert 2800.0 < 20_000 / (width * height) < 3400.0
    order = np.lexsort((plan["ra"], plan["dec"]))
    positions = np.stack([plan["ra"], plan["dec"]], axis=1)[order]
    assert len(np.unique(np.round(positions * 3600.0, 1), axis=0)) == 20_000


def test_the_same_seed_plans_the_same_survey_and_another_seed_another() -> None:
    first, again, other = (plan_survey(300, seed=seed) for seed in (1, 1, 2))
    assert (first == again).all()
    assert not np.intersect1d(first["object_id"], other["object_id"]).size


@pytest.mark.parametrize("wrong", [{"n_objects": 0}, {"n_objects": 10, "odd_fraction": 1.1}])
def test_a_plan_out_of_range_is_refused_with_the_argument_and_value(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"n_objects must be|odd_fraction must be"):
        plan_survey(**wrong, seed=SEED)  # type: ignore[arg-type]


# --- lights


def test_a_painted_star_holds_its_flux_at_its_place_in_every_band() -> None:
    needs_galsim()
    flux = np.array([300.0, 400.0, 500.0])
    image = paint([Cloud(flux, np.array([5.0]), np.array([-9.0]), np.ones(1))], size=96, x=0.25)
    rows, columns = np.indices((96, 96))
    for band in range(3):
        assert image[band].sum() == pytest.approx(flux[band], rel=0.01)
        near = np.hypot(rows - 39.0, columns - 53.25) < 8.0
        light = image[band] * near
        assert (light * columns).sum() / light.sum() == pytest.approx(53.25, abs=0.02)
        assert (light * rows).sum() / light.sum() == pytest.approx(39.0, abs=0.02)


def test_paint_agrees_with_galsim_drawing_the_same_galaxy() -> None:
    needs_galsim()
    import galsim

    body = Sersic(np.full(3, 500.0), 2.5, 0.7, 0.5, 0.6, x=4.0, y=-3.0)
    image = paint([body], size=96)[2]
    profile = galsim.Sersic(2.5, half_light_radius=0.7, flux=500.0).shear(q=0.5, beta=0.6 * galsim.radians)
    seen = galsim.Convolve(profile, galsim.Moffat(beta=3.5, fwhm=0.57))
    # GalSim's center of 96 pixels lies between two of them, ours on the later one.
    drawn = seen.drawImage(nx=96, ny=96, scale=PIXEL_ARCSEC, offset=(4.5, -2.5)).array
    assert np.abs(image - drawn).max() < 0.004 * drawn.max()


def test_stars_are_as_wide_as_the_seeing_and_galaxies_wider() -> None:
    needs_galsim()
    star = paint([Cloud(np.ones(3), np.zeros(1), np.zeros(1), np.ones(1))], size=96)[2]
    galaxy = paint([Sersic(np.ones(3), 1.0, 0.9)], size=96)[2]
    star_arcsec, galaxy_arcsec = (half_light_radius(image, x=0, y=0) * PIXEL_ARCSEC for image in (star, galaxy))
    assert 0.28 < star_arcsec < 0.45
    assert galaxy_arcsec == pytest.approx(np.hypot(0.9, star_arcsec), rel=0.08)


def test_no_light_paints_zeros_and_has_no_radius() -> None:
    needs_galsim()
    assert (paint([], size=96) == 0.0).all()
    with pytest.raises(ValueError, match="no light"):
        half_light_radius(np.zeros((96, 96)), x=0.0, y=0.0)


@pytest.mark.parametrize("size", [30, 97])
def test_a_size_that_cannot_be_painted_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"at least 32 pixels, got {size}"):
        paint([], size=size)


def test_split_parts_sum_to_the_whole_and_stay_positive() -> None:
    flux = band_flux(20.2, 1.4, 0.5)
    for share in (0.003, 0.1, 0.45):
        part, rest = split(flux, share, (0.9, 0.4))
        assert part + rest == pytest.approx(flux)
        assert part[2] == pytest.approx(share * flux[2])
        assert (rest >= 0.0999 * flux).all()


def test_magnitudes_colors_and_sizes_are_those_of_the_sample() -> None:
    targets = [draw_target(np.random.default_rng([SEED, number])) for number in range(1500)]
    mags = np.array([27.0 - 2.5 * np.log10(target.flux) for target in targets])
    g_r, r_i = mags[:, 0] - mags[:, 1], mags[:, 1] - mags[:, 2]
    stars = np.array([target.is_star for target in targets])
    radii = np.array([target.radius_arcsec for target in targets])[~stars]
    assert mags[:, 2].min() >= 20.0
    assert mags[:, 2].max() < 20.5
    assert abs(stars.mean() - STAR_FRACTION) < 0.035
    assert ((g_r[~stars] > -0.1) & (g_r[~stars] < 2.1)).all()
    assert ((r_i[~stars] > -0.1) & (r_i[~stars] < 1.0)).all()
    assert np.std(g_r[~stars]) > 0.25  # two populations, not one
    assert radii.min() >= RADIUS_RANGE[0]
    assert radii.max() <= RADIUS_RANGE[1]
    assert 0.65 < np.median(radii) < 0.75


def test_brighter_neighbors_keep_their_distance_and_faint_ones_outnumber_them() -> None:
    mags, distances = [], []
    for number in range(60):
        for light in draw_neighbors(np.random.default_rng([SEED, number]), 96):
            x, y = (light.x, light.y) if isinstance(light, Sersic) else (light.x[0], light.y[0])
            mags.append(27.0 - 2.5 * np.log10(light.flux[2]))
            distances.append(np.hypot(x, y) * PIXEL_ARCSEC)
    near = np.array(mags)[np.array(distances) < 3.0]
    assert near.min() > 23.0
    assert (np.array(mags) > 24.0).sum() > 4 * (np.array(mags) < 23.0).sum()


# --- oddities


@pytest.mark.parametrize("name", ASTROPHYSICAL)
def test_an_astrophysical_oddity_keeps_its_hosts_flux(name: str) -> None:
    """Noise-free, in the frame, within 0.05 mag in i; and exactly in total, band by band."""
    needs_galsim()
    for number in range(4):
        host = draw_target(np.random.default_rng([SEED, number]), star_fraction=0.0)
        before = paint(host.lights, size=96)
        for strength in np.geomspace(*ASTROPHYSICAL[name], 3):
            odd = plant(host, name, strength, rng=np.random.default_rng(number), size=96)
            after = paint(odd.lights, size=96)
            assert odd.flux == pytest.approx(host.flux, rel=1e-9)
            assert abs(2.5 * np.log10(after[2].sum() / before[2].sum())) < 0.05


@pytest.mark.parametrize("name", ASTROPHYSICAL)
def test_an_astrophysical_oddity_moves_as_much_light_as_its_strength_says(name: str) -> None:
    """Strong ones stand out of the noise over many pixels, the weakest are under it."""
    needs_galsim()
    host = draw_target(np.random.default_rng(SEED), star_fraction=0.0)
    before = paint(host.lights, size=96)[2]
    signal = []
    for strength in ASTROPHYSICAL[name]:
        odd = plant(host, name, strength, rng=np.random.default_rng(1), size=96)
        moved = np.abs(paint(odd.lights, size=96)[2] - before)
        assert 0.2 * strength < 0.5 * moved.sum() / before.sum() < 1.05 * strength
        noise = np.sqrt(SKY_SIGMA[2] ** 2 + before / ELECTRONS)
        signal.append(np.max(moved / noise))
    assert signal[0] < 3.0
    assert signal[1] > 10.0


@pytest.mark.parametrize("name", ARTEFACTS)
def test_an_artefact_is_loud_at_its_strongest_and_lost_at_its_weakest(name: str) -> None:
    low, high = ARTEFACTS[name]
    weak, strong = (
        stain(name, strength, sky_sigma=SKY_SIGMA, rng=np.random.default_rng(3), size=96) for strength in (low, high)
    )
    if name == "missing_band":
        assert [(~mark.kept).any(axis=(1, 2)).sum() for mark in (weak, strong)] == [1, 1]  # of the three bands
        assert (~weak.kept).sum() == 96
        assert (~strong.kept).sum() == 96 * 96
        return
    sigma = SKY_SIGMA[:, None, None]
    assert np.median((weak.light / sigma).max(axis=(1, 2))) < 1.0
    assert (strong.light / sigma).max() >= 0.8 * high
    assert ((strong.light / sigma).max(axis=0) > 5.0).mean() > 0.02
    assert weak.kept.all()
    assert strong.kept.all()


def test_unknown_classes_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(KeyError, match="comet"):
        plant(draw_target(rng), "comet", 0.1, rng=rng, size=96)
    with pytest.raises(KeyError, match="comet"):
        stain("comet", 0.1, sky_sigma=SKY_SIGMA, rng=rng, size=96)


# --- whole cutouts


def test_a_cutout_depends_on_its_id_and_seed_only() -> None:
    needs_galsim()
    plan = plan_survey(6, odd_fraction=0.5, seed=SEED)
    forward = {int(row["object_id"]): simulate_cutout(row, seed=SEED) for row in plan}
    for row in plan[::-1]:
        flux, truth = simulate_cutout(row, seed=SEED)
        kept_flux, kept_truth = forward[int(row["object_id"])]
        assert np.array_equal(flux, kept_flux)
        assert truth == kept_truth
    assert not np.array_equal(simulate_cutout(plan[0], seed=SEED + 1)[0], forward[int(plan[0]["object_id"])][0])


def test_cutouts_are_finite_float32_of_the_size_asked_for() -> None:
    needs_galsim()
    for size in (64, 96):
        flux, _ = simulate_cutout(plan_survey(1, seed=SEED)[0], seed=SEED, size=size)
        assert flux.dtype == np.float32
        assert flux.shape == (3, size, size)
        assert np.isfinite(flux).all()


def test_sky_noise_is_that_of_hsc_wide() -> None:
    """Robust deviation of differences of far pixels: free of the background, and hardly touched by objects."""
    needs_galsim()
    spreads, correlations = [], []
    for row in plan_survey(40, odd_fraction=0.0, seed=SEED):
        flux, _ = simulate_cutout(row, seed=SEED)
        far = flux[:, :, 3:] - flux[:, :, :-3]
        spreads.append(1.4826 * np.median(np.abs(far), axis=(1, 2)) / np.sqrt(2.0))
        near = flux[:, :, 1:] - flux[:, :, :-1]
        correlations.append(1.0 - (np.median(np.abs(near), axis=(1, 2)) / np.median(np.abs(far), axis=(1, 2))) ** 2)
    assert np.median(spreads, axis=0) == pytest.approx(SKY_SIGMA, rel=0.10)
    assert 0.18 < np.median(correlations) < 0.29  # the same measure on the g, r, i of hsc_lsbg_191 and hsc_cosmos


def test_truth_is_the_catalogs_view_of_the_target() -> None:
    needs_galsim()
    for row in plan_survey(12, odd_fraction=0.0, seed=SEED):
        flux, truth = simulate_cutout(row, seed=SEED)
        assert 20.0 <= truth["i_mag"] < 20.5
        assert 0.25 < truth["half_light_radius_arcsec"] < 2.5
        assert max(abs(truth["x"]), abs(truth["y"])) <= 0.5
        center = flux[2, 46:51, 46:51]
        assert center.mean() > 5.0 * SKY_SIGMA[2]
        if truth["is_star"]:
            assert truth["half_light_radius_arcsec"] < 0.5


@pytest.mark.parametrize("name", ASTROPHYSICAL)
def test_an_oddity_leaves_magnitude_and_colors_of_the_catalog_alone(name: str) -> None:
    needs_galsim()
    weak, strong = (simulate_cutout(rows_of(name, strength, 1)[0], seed=SEED)[1] for strength in ASTROPHYSICAL[name])
    for quantity in ("i_mag", "g_r", "r_i"):
        assert weak[quantity] == pytest.approx(strong[quantity], abs=1e-6)
    assert not strong["is_star"]


def test_a_missing_band_is_zero_and_the_others_are_not() -> None:
    needs_galsim()
    flux, _ = simulate_cutout(rows_of("missing_band", 1.0, 1)[0], seed=SEED)
    assert sorted((flux == 0.0).all(axis=(1, 2))) == [False, False, True]


def test_the_picture_is_dark_sky_with_an_object_in_the_middle() -> None:
    needs_galsim()
    plan = plan_survey(16, odd_fraction=0.0, seed=SEED)
    images = lupton(np.stack([simulate_cutout(row, seed=SEED)[0][::-1][[0, 1, 2]] for row in plan]))
    middle = images[:, 44:53, 44:53].mean(axis=(1, 2))
    assert np.median(images) < 40.0  # shared/data/hsc: 25
    assert (middle.mean(axis=1) > 50.0).all()
    assert np.median(middle[:, 0]) > np.median(middle[:, 1]) > np.median(middle[:, 2])  # red to blue, as in HSC


def test_without_galsim_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "galsim", None)
    with pytest.raises(ImportError, match=r'simulate needs GalSim; install "peculiar\[sim\]"'):
        require_galsim()
