import json
import math
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peculiar.catalog.viewers import sky_viewers


def test_every_address_is_the_one_that_its_service_understands():
    found = sky_viewers(149.8069312, 1.6185456)
    colors = (
        "%22type%22%3A%22SDSS_TRUE_COLOR%22%2C%22filter%22%3A%5B%22HSC-I%22%2C%22HSC-R%22%2C%22HSC-G%22%5D%2C"
        "%22simpleRgb%22%3A%7B%22beta%22%3A22026.465794806718%2C%22a%22%3A1%2C%22bias%22%3A0.05%2C%22b0%22%3A0%7D%2C"
        "%22sdssTrueColor%22%3A%7B%22beta%22%3A22026.465794806718%2C%22a%22%3A1%2C%22bias%22%3A0.05%2C%22b0%22%3A0%7D"
    )
    assert found == {
        "HSC map": "https://hsc-release.mtk.nao.ac.jp/hscMap-pdr2/app/#/?_=%7B%22view%22%3A%7B%22a%22%3A2.6146241917%2C"
        f"%22d%22%3A0.0282489498%2C%22fovy%22%3A0.0002%2C%22roll%22%3A0%7D%2C%22sspParams%22%3A%7B{colors}%7D%7D",
        "Legacy Surveys": "https://www.legacysurvey.org/viewer?ra=149.8069312&dec=1.6185456&layer=ls-dr10&zoom=16"
        "&mark=149.8069312,1.6185456",
        "SIMBAD": "https://simbad.cds.unistra.fr/simbad/sim-coo?Coord=149.8069312%20%2B1.6185456&CooFrame=ICRS"
        "&Radius=10&Radius.unit=arcsec",
        "NED": "https://ned.ipac.caltech.edu/conesearch?search_type=Near%20Position%20Search"
        "&coordinates=149.8069312d%20%2B1.6185456d&radius=0.17&in_csys=Equatorial&in_equinox=J2000",
        "Aladin Lite": "https://aladin.cds.unistra.fr/AladinLite/?target=149.8069312%20%2B1.6185456&fov=0.02"
        "&survey=CDS%2FP%2FDSS2%2Fcolor",
    }


@given(st.floats(-720, 720), st.floats(-90, 90))
def test_a_position_can_be_read_back_from_every_address(ra, dec):
    found = sky_viewers(ra, dec)
    state = json.loads(unquote(urlsplit(found["HSC map"]).fragment.removeprefix("/?_=")))["view"]
    fields = {name: parse_qs(urlsplit(address).query) for name, address in found.items()}
    read = {
        "HSC map": (math.degrees(state["a"]), math.degrees(state["d"])),
        "Legacy Surveys": (fields["Legacy Surveys"]["ra"][0], fields["Legacy Surveys"]["dec"][0]),
        "SIMBAD": fields["SIMBAD"]["Coord"][0].split(),
        "NED": fields["NED"]["coordinates"][0].replace("d", "").split(),
        "Aladin Lite": fields["Aladin Lite"]["target"][0].split(),
    }
    for name, (east, north) in read.items():
        assert float(east) == pytest.approx(ra % 360, abs=1e-7), name
        assert float(north) == pytest.approx(dec, abs=1e-7), name


@pytest.mark.parametrize("position", [(None, 2.0), (150.0, None), (math.nan, 2.0), (150.0, math.nan), (math.inf, 2.0)])
def test_no_position_has_no_address(position):
    assert sky_viewers(*position) == {}


def test_a_declination_beyond_the_pole_is_refused():
    with pytest.raises(ValueError, match="dec must be from -90 to 90 degrees, got 150"):
        sky_viewers(2.0, 150.0)
