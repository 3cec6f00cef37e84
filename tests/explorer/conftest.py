"""An atlas with features, maps, an order and hostile texts, and a client of its server."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def explored(tmp_path_factory: pytest.TempPathFactory, ranked: Path) -> Path:
    """The ranked atlas with features of the critic and a map of them. Not to be changed."""
    from peculiar import Atlas

    folder = shutil.copytree(ranked, tmp_path_factory.mktemp("explored") / "atlas")
    atlas = Atlas(folder)
    atlas.make_features("critic")
    atlas.make_map("critic", method="pca")
    return folder


@pytest.fixture
def client(explored: Path, tmp_path: Path):
    """A client of a server of a copy of the atlas, on which "anna" labels."""
    from starlette.testclient import TestClient

    from peculiar.explorer import Options, make_app

    folder = shutil.copytree(explored, tmp_path / "atlas")
    app = make_app(folder, Options(port=8460, expert="anna"))
    with TestClient(app, base_url="http://127.0.0.1:8460") as opened:
        opened.folder = folder
        yield opened
