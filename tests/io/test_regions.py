import gzip
import sys

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import Latitude, Longitude, SkyCoord, SkyOffsetFrame
from astropy.io import fits
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from peculiar.catalog.masks import Kind, inside_shapes
from peculiar.io.regions import inside_moc, read_regions

# As HSC's bright-object masks are written (Coupon et al. 2018).
BRIGHT_STARS = """# BRIGHT STAR CATALOG: made
# FILTER HSC-G, include=0 is said of nothing here
wcs; fk5
circle(150.100000,2.200000,0.010000d) # ID: 1, mag: 9.51
box(150.300000,2.250000,0.004000d,0.060000d,30.000000) # ID: 1, mag: 9.51
"""
DS9 = """# Region file format: DS9 version 4.1
global color=green dashlist=8 3 width=1 select=1 include=1 source=1
icrs
circle(150.1,2.2,36") # text={a star; or # two}
-ellipse(150.11,2.2,20",0.2',30)
annulus(150.5,2.2,10",20",30")
ellipse(150.6,2.3,10",20",30",60",20)
box(150.7,2.3,10",20",30",60",20)
# composite(150.8,2.3,0) || composite=1
circle(10:03:12.0,+2:18:00,0.5') ||
box(150.82,2.3,0.01,0.02)
polygon(150.9,2.3,150.95,2.3,150.95,2.4,150.9,2.38)
galactic
box(236.5,42.3,0.05,0.01,25)
b1950;CIRCLE 150.2 2.6 40"
# text(150.1,2.2) text={what}
"""
CASA = """#CRTFv0 CASA Region Text Format version 0
global coord=ICRS
circle [[150.1deg, 2.2deg], 36arcsec]
-ellipse [[150.11deg, 2.2deg], [20arcsec, 12arcsec], 30deg]
annulus [[10h02m00s, +2d12m00s], [10arcsec, 30arcsec]]
centerbox [[150.7deg, 2.3deg], [30arcsec, 60arcsec]]
rotbox [[236.5deg, 42.3deg], [0.05deg, 0.01deg], 25deg], coord=GALACTIC
poly [[150.9deg, 2.3deg], [150.95deg, 2.3deg], [150.95deg, 2.4deg], [150.9deg, 2.38deg]]
ann text [[150.1deg, 2.2deg], 'what']
"""


@pytest.fixture
def written(tmp_path):
    """Write a text into a file of this name."""

    def write(text, name="mask.reg"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def of_regions(text, form, ra, dec):
    """Inside by the package's own reading and its own test, each shape in a plane at its center.

    The plane is of the shape's own coordinates: in one of others the package takes the angle from their north.
    """
    regions = pytest.importorskip("regions")
    positions, found = (
        SkyCoord(ra * units.deg, dec * units.deg),
        {0: np.zeros(len(ra), bool), 1: np.zeros(len(ra), bool)},
    )
    for region in regions.Regions.parse(text, format=form):
        if region.meta.get("type") == "ann":
            continue
        center = region.vertices[0] if hasattr(region, "vertices") else region.center
        wcs = WCS(naxis=2)
        is_galactic = center.frame.name == "galactic"
        place = center.spherical if is_galactic else center.icrs.spherical
        wcs.wcs.crval, wcs.wcs.crpix = [place.lon.deg, place.lat.deg], [1, 1]
        wcs.wcs.cdelt = [-1e-4, 1e-4]
        wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"] if is_galactic else ["RA---TAN", "DEC--TAN"]
        is_included = int(region.meta["include"])
        region.meta["include"] = 1
        found[is_included] |= region.contains(positions, wcs)
    return found[1] & ~found[0]


def sprinkled(shapes, n=400):
    """Positions in and around every shape."""
    random, ra, dec = np.random.default_rng(0), [], []
    centers = SkyCoord(shapes.center, unit="", representation_type="cartesian")
    for place, reach in zip(centers, shapes.reach, strict=True):
        x, y = random.uniform(-1.2 * reach, 1.2 * reach, (2, n))
        near = SkyCoord(x * units.deg, y * units.deg, frame=SkyOffsetFrame(origin=SkyCoord(place.cartesian))).icrs
        ra.append(near.ra.deg)
        dec.append(near.dec.deg)
    return np.concatenate(ra), np.concatenate(dec)


def test_masks_of_bright_stars_are_read_as_they_are(written):
    shapes = read_regions(written(BRIGHT_STARS))
    assert_array_equal(shapes.kind, [Kind.CIRCLE, Kind.BOX])
    centers = SkyCoord([150.1, 150.3] * units.deg, [2.2, 2.25] * units.deg, frame="fk5").icrs
    assert_allclose(shapes.ra, centers.ra.deg, atol=1e-10)
    assert_allclose(shapes.dec, centers.dec.deg, atol=1e-10)
    assert_allclose([*shapes.width, *shapes.height], [0.02, 0.004, 0.02, 0.06])
    assert_allclose(shapes.angle, [0, 30], atol=1e-4)
    assert not shapes.is_excluded.any()


@pytest.mark.parametrize(("text", "form", "name"), [(DS9, "ds9", "mask.reg"), (CASA, "crtf", "mask.crtf")])
def test_what_is_read_contains_what_the_package_regions_says(written, text, form, name):
    shapes = read_regions(written(text, name))
    ra, dec = sprinkled(shapes)
    found, expected = inside_shapes(ra, dec, shapes), of_regions(text, form, ra, dec)
    assert 0.2 < expected.mean() < 0.8
    # At a border: the package takes tangents in the plane for angles, and a polygon's plane is at its first corner.
    assert (found != expected).sum() <= 1
    assert shapes.is_excluded.sum() == 1
    assert len(np.unique(shapes.kind)) == 4


def test_an_angle_is_from_the_north_of_the_files_own_coordinates(written):
    shapes = read_regions(written("galactic\nbox(236.5,42.3,0.05,0.01,25)"))
    center = SkyCoord(236.5, 42.3, unit="deg", frame="galactic")
    x, y = np.random.default_rng(0).uniform(-0.03, 0.03, (2, 3000))
    frame = SkyOffsetFrame(origin=center, rotation=25 * units.deg)
    places = SkyCoord(x * units.deg, y * units.deg, frame=frame).icrs
    found = inside_shapes(places.ra.deg, places.dec.deg, shapes)
    assert_array_equal(found, (np.abs(x) < 0.025) & (np.abs(y) < 0.005))


def test_plain_lines_are_read_as_the_package_reads_them(written):
    regions = pytest.importorskip("regions")
    text = "icrs\ncircle(10.5,-3,2')\nellipse(11,-4,30\",0.02d,40)\nbox 12 -5 0.001r 9\" 10\n-box(13,-6,1',2')\n"
    shapes = read_regions(written(text))
    circle, ellipse, box, plain = regions.Regions.parse(text.replace("0.001r", f"{np.degrees(0.001)}"), format="ds9")
    widths = [2 * circle.radius, ellipse.width, box.width, plain.width]
    heights = [2 * circle.radius, ellipse.height, box.height, plain.height]
    assert_allclose(shapes.width, [each.to_value("deg") for each in widths])
    assert_allclose(shapes.height, [each.to_value("deg") for each in heights])
    assert_allclose(shapes.angle, [0, 40, 10, 0])
    assert_array_equal(shapes.is_excluded, [False, False, False, True])


def test_plain_lines_need_no_package(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "regions", None)
    monkeypatch.setitem(sys.modules, "mocpy", None)
    assert len(read_regions(written(BRIGHT_STARS))) == 2
    with pytest.raises(ImportError, match=r'needs the package regions .* pip install "peculiar\[catalog\]"'):
        read_regions(written('fk5; annulus(1,2,3",4")'))
    with pytest.raises(ImportError, match=r'needs the package mocpy .* pip install "peculiar\[catalog\]"'):
        inside_moc(written("6/27258", "moc.txt"), np.zeros(1), np.zeros(1))


def test_a_gzipped_file_is_the_same(written, tmp_path):
    (tmp_path / "mask.reg.gz").write_bytes(gzip.compress(DS9.encode()))
    packed, plain = read_regions(tmp_path / "mask.reg.gz"), read_regions(written(DS9))
    assert_array_equal(packed.center, plain.center)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no shape"),
        ("# only a comment\nfk5\n", "holds no shape"),
        ("circle(150,2,3)", "line 1: no coordinate frame was named"),
        ("wcs\ncircle(150,2,3)", "line 2: no coordinate frame was named"),
        ("image\ncircle(150,2,3)", "line 2: image coordinates are pixels"),
        ("physical;circle(150,2,3)", "line 1: physical coordinates are pixels"),
        ("fk5\ncircle(150,2,3i)", "line 2: not understood"),
        ("fk5\n-circle(150,2,3)\n-box(1,2,3,4)", "holds excluded shapes only .2, each"),
        ("fk5\ncircle(150,2,3) # include=0", "line 2: include=0 is not read"),
        ("global include=0\nfk5\ncircle(150,2,3)", "line 1: include=0 is not read"),
        ('fk5\ncircle(1,2,3") & circle(1,2,4")', "line 2: .* is neither a frame nor one shape"),
        ('fk5\ncircle(1,2,3") circle(1,2,4")', "line 2: .* is neither a frame nor one shape"),
        ("fk5\ncircle(1,2", "line 2: .* is neither a frame nor one shape"),
        ("fk5\npoint(150,2)", "line 2: a point has no inside"),
        ("fk5\nline(150,2,151,2) # line=0 0", "line 2: a line has no inside"),
        ('fk5\npanda(150,2,0,90,1,1",2",1)', 'line 2: not understood: "panda"'),
        ("supergalactic\ncircle(1,2,3)", "line 1: .*supergalactic.* is neither a frame nor one shape"),
        ("fk5\ncircle(150,95,3)", "line 2: a declination or latitude is beyond 90 degrees"),
        ("fk5\ncircle(nan,2,3)", "line 2: a number is not finite"),
        ("fk5\ncircle(150,2,0)", "line 2: sizes must be above 0"),
        ("fk5\nbox(150,2,-3,4,0)", "line 2: sizes must be above 0"),
        ("fk5\nbox(150,2,3)", "line 2: not understood"),
        ("fk5\nbox(150,2,30,4)", "line 2: a box or ellipse may be 20 degrees across"),
        ('fk5\nannulus(150,2,3",2")', "line 2: not understood"),
        ('icrs\nbox(150,2,3",3",2",2",0)', "line 2: "),
        ("fk5\npolygon(150,2,151,2)", "line 2: a polygon needs three corners or more, got 2"),
        ("fk5\npolygon(150,2,151,2,3)", "line 2: not understood"),
        ("fk5\npolygon(0,0,120,0,240,0)", "line 2: a polygon may reach 60 degrees"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_line(written, text, why):
    pytest.importorskip("regions")
    with pytest.raises(ValueError, match=why):
        read_regions(written(text))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("circle [[1pix, 2pix], 3pix]", "is of pixels or names no coordinates"),
        ("circle [[1deg, 2deg], 3arcsec]", "is of pixels or names no coordinates"),
        ("foo [[1deg, 2deg], 3arcsec], coord=ICRS", "not understood"),
        ("box [[1deg, 2deg], [2deg, 4deg]], coord=ICRS", "line 2: a box given by its corners is not read"),
        ("symbol [[1deg, 2deg], .], coord=ICRS", "PointSkyRegion has no inside"),
    ],
)
def test_what_is_not_understood_of_casa_is_refused(written, line, why):
    pytest.importorskip("regions")
    with pytest.raises(ValueError, match=why):
        read_regions(written(f"#CRTFv0\n{line}\n", "mask.crtf"))


def test_fits_regions_and_what_is_not_there_are_refused(tmp_path):
    fits.PrimaryHDU().writeto(tmp_path / "region.fits")
    with pytest.raises(ValueError, match=r"FITS regions hold pixels of one image, .*; if it is a MOC, give it as one"):
        read_regions(tmp_path / "region.fits")
    for read in (read_regions, lambda path: inside_moc(path, np.zeros(1), np.zeros(1))):
        with pytest.raises(FileNotFoundError, match="there is no file"):
            read(tmp_path / "none.reg")


@pytest.fixture
def moc():
    """One degree around a place that ra = 0 goes through."""
    mocpy = pytest.importorskip("mocpy")
    return mocpy.MOC.from_cone(lon=0.3 * units.deg, lat=89.0 * units.deg, radius=2 * units.deg, max_depth=11)


@pytest.mark.parametrize("form", ["fits", "json", "ascii"])
def test_a_moc_holds_what_its_cells_hold(moc, tmp_path, form):
    healpix = pytest.importorskip("cdshealpix")
    moc.save(tmp_path / f"moc.{form}", format=form)
    random = np.random.default_rng(3)
    ra, dec = random.uniform(-180, 540, 3000), random.uniform(86, 90, 3000)
    ra[:3], dec[0], dec[3] = [np.nan, 0.0, 360.0], 89.0, np.inf
    found = inside_moc(tmp_path / f"moc.{form}", ra, dec)
    assert not found[[0, 3]].any()
    longitude, latitude = Longitude(ra[4:] * units.deg), Latitude(dec[4:] * units.deg)
    cells = healpix.lonlat_to_healpix(longitude, latitude, 11)
    assert 0.1 < found.mean() < 0.9
    assert_array_equal(found[4:], np.isin(cells, moc.flatten()))


def test_parts_do_not_change_what_is_inside_a_moc(moc, tmp_path, monkeypatch):
    from peculiar.io import regions

    moc.save(tmp_path / "moc.fits", format="fits")
    ra, dec = np.linspace(0, 360, 500), np.linspace(85, 90, 500)
    whole = inside_moc(tmp_path / "moc.fits", ra, dec)
    monkeypatch.setattr(regions, "MOC_AT_ONCE", 7)
    assert_array_equal(inside_moc(tmp_path / "moc.fits", ra, dec), whole)


def test_what_is_no_moc_of_the_sky_is_refused(moc, written, tmp_path):
    fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])]).writeto(tmp_path / "table.fits")
    moc.save(tmp_path / "moc.fits", format="fits")
    (tmp_path / "moc.fits.gz").write_bytes(gzip.compress((tmp_path / "moc.fits").read_bytes()))
    for path, why in (
        (written("hello", "a.txt"), "a.txt is no MOC of the sky"),
        (written("{hello", "a.json"), "a.json is no MOC of the sky"),
        (written("", "b.txt"), "b.txt is no MOC of the sky"),
        (tmp_path / "table.fits", "table.fits is no MOC of the sky"),
        (tmp_path / "moc.fits.gz", "is gzipped, which a MOC may not be here"),
    ):
        with pytest.raises(ValueError, match=why):
            inside_moc(path, np.zeros(1), np.zeros(1))
    fits.setval(tmp_path / "moc.fits", "COORDSYS", value="G", ext=1)
    with pytest.raises(ValueError, match=r"no MOC of the sky .*COORDSYS"):
        inside_moc(tmp_path / "moc.fits", np.zeros(1), np.zeros(1))
