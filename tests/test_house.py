"""The house itself: layers, documentation, options, start-up, changelog."""

import dataclasses
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Annotated, get_args, get_origin, get_type_hints

import pytest

import peculiar

ROOT = Path(__file__).parents[1]
MODULES = sorted(each.name for each in pkgutil.walk_packages(peculiar.__path__, "peculiar."))
CLI = {each for each in MODULES if each.startswith("peculiar.cli")}  # signatures are made there
STAGES = [each for each in MODULES if each.startswith("peculiar.stages.")]
MAX_FIELDS = 15  # HOUSE.md sect. 5
HEAVY = ("torch", "lance", "matplotlib", "pyarrow", "astropy", "scipy", "h5py", "PIL", "rich.console")


def public_members(module):
    """Functions and classes that a module defines and does not hide."""
    for name, member in vars(module).items():
        is_ours = getattr(member, "__module__", None) == module.__name__
        if not name.startswith("_") and is_ours and (inspect.isfunction(member) or inspect.isclass(member)):
            yield name, member


def configs():
    modules = [importlib.import_module(name) for name in STAGES]
    return [member for module in modules for key, member in public_members(module) if key.endswith("Config")]


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_is_documented(name):
    module = importlib.import_module(name)
    assert module.__doc__, name
    for key, member in public_members(module):
        assert member.__doc__, f"{name}.{key}"
        assert not (inspect.isclass(member) and member.__doc__.startswith(f"{key}(")), f"{name}.{key}"
        if inspect.isclass(member):
            for method, function in vars(member).items():
                if not method.startswith("_") and inspect.isfunction(getattr(function, "__func__", function)):
                    assert inspect.getdoc(getattr(member, method)), f"{name}.{key}.{method}"


@pytest.mark.parametrize(
    "name", [each for each in MODULES if not each.startswith("peculiar.cli")]
)  # its signatures are made
def test_everything_public_is_annotated(name):
    for key, member in public_members(importlib.import_module(name)):
        if inspect.isfunction(member):
            signature = inspect.signature(member)
            parameters = [each for each in signature.parameters.values() if each.name not in ("self", "cls")]
            assert all(each.annotation is not each.empty for each in parameters), f"{name}.{key}"
            assert signature.return_annotation is not signature.empty, f"{name}.{key}"


def test_imports_point_down():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "KEPT" in done.stdout


# --- options


def test_there_is_a_config_for_every_stage_that_is_told_anything():
    names = {each.__name__ for each in configs()}
    assert names >= {
        "IngestConfig",
        "TrainGanConfig",
        "TrainEncoderConfig",
        "ScoreConfig",
        "RankConfig",
        "ReleaseConfig",
    }


@pytest.mark.parametrize("config", configs(), ids=lambda each: each.__name__)
def test_a_config_is_flat_frozen_keyword_only_short_and_explained(config):
    assert dataclasses.is_dataclass(config)
    assert config.__dataclass_params__.frozen
    fields = dataclasses.fields(config)
    assert len(fields) <= MAX_FIELDS
    assert all(each.kw_only for each in fields)
    for name, hint in get_type_hints(config, include_extras=True).items():
        assert get_origin(hint) is Annotated, name
        kind, text = get_args(hint)[:2]
        assert isinstance(text, str), name
        assert len(text) > 5, name
        assert not dataclasses.is_dataclass(kind), name


# --- start-up


def test_help_is_instant_because_nothing_heavy_is_imported(made):
    code = """
        import sys
        sys.argv = ["peculiar", "--help"]
        from peculiar.cli import main
        try:
            main()
        except SystemExit as end:
            assert end.code == 0
        print("IMPORTED", *sys.modules)
    """
    imported = set(made.python(code).split("IMPORTED")[1].split())
    assert "typer" in imported
    assert [name for name in HEAVY if name in imported] == []


def test_importing_the_package_imports_nothing_heavy(made):
    imported = made.python("import peculiar, sys; print(*sys.modules)").split()
    assert [name for name in (*HEAVY, "numpy") if name in imported] == []


# --- papers


def test_the_newest_entry_of_the_changelog_is_this_version():
    headings = re.findall(r"^## +\[?([^\]\s]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == peculiar.__version__


def test_one_version_is_given_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == peculiar.__version__
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {peculiar.__version__}" in citation.replace('"', "")


def test_both_originals_are_credited():
    for name in ("README.md", "CITATION.cff"):
        text = (ROOT / name).read_text()
        assert "Storey-Fisher" in text, name
        assert "Carrasco Kind" in text, name


@pytest.mark.slow
def test_shapes_and_types_hold_at_the_public_borders():
    """The tests of the science again, every call checked against its annotation.

    But for those of refusals: there the check is quicker than our own.
    """
    files = [
        str(ROOT / "tests" / each)
        for each in ("sky", "networks", "scoring", "maps", "catalog", "test_figures.py", "test_galleries.py")
    ]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not refused and not need", *files]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"PECULIAR_TYPED": "1"}, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout[-5_000:]
