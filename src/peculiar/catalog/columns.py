"""The columns of the catalog, each declared once: name, type, unit, UCD and meaning.

Every score: larger is more anomalous. A column that is not declared here is the user's own and passes through.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa


@dataclass(frozen=True)
class Column:
    """What one column of the catalog holds.

    Parameters
    ----------
    name
        The name in every table and product of this package.
    dtype
        Name of the Arrow type, as ``str(field.type)`` gives it.
    unit
        Unit as FITS and VOUnits both spell it; empty where the number has none.
    ucd
        Unified Content Descriptor, UCD1+ vocabulary.
    description
        One sentence for the reader of the product.
    """

    name: str
    dtype: str
    unit: str
    ucd: str
    description: str

    def metadata(self) -> dict[bytes, bytes]:
        """Return the Arrow field metadata of the column: unit, ucd and description, UTF-8."""
        return {b"unit": self.unit.encode(), b"ucd": self.ucd.encode(), b"description": self.description.encode()}


_LARGER = "larger is more anomalous"
_SCORES = {
    "score_gen": "Generator score: sum of |image - reconstruction| over all values, each 0 to 1 (Storey-Fisher 2021, "
    f"eq. 5); latent found at reconstruction_weight; {_LARGER}",
    "score_disc": "Critic score: sum of |critic features of image - those of the reconstruction| (Storey-Fisher 2021, "
    f"eq. 6, the paper's s_disc); latent found at reconstruction_weight; {_LARGER}",
    "score_anom": "Combined score: (1 - combination_weight) score_gen + combination_weight score_disc "
    f"(the paper's s_anom); {_LARGER}",
}
_RELATIVE_FORMS = {
    "sigma": ("stat.value", "in standard deviations from the mean of the reference"),
    "robust_sigma": ("stat.value", "in robust standard deviations (1.4826 MAD) from the median of the reference"),
    "percentile": ("stat.rank", "percentile among the reference, 0 to 100"),
    "conditional": (
        "stat.value",
        "logarithm against the reference objects most alike in brightness and size, in their deviations",
    ),
}
_OTHER_SCORES = {  # by the beginning of the name; the feature set or forest is its end
    "score_autoencoder_": "Autoencoder {}: sum of |its input - decoded| over all values, each 0 to 1",
    "score_foreign_": "Detector {}: odds that light is foreign to the survey, geometric mean of the four surest places",
    "score_neighbors_": "Mean distance to the nearest of a reference sample in features {}",
    "score_forest_": "Extended isolation forest {}: 2^(-mean path length / its expectation) (Hariri et al. 2019)",
}
_FOUND = {  # by the beginning of the name; the map or clusters are its end
    "map_x_": ("", "Abscissa on the map {}"),
    "map_y_": ("", "Ordinate on the map {}"),
    "cluster_": ("meta.id", "Cluster of {}, 0 the largest; -1 where in none"),
}
_GRAY = "gray level (mean of the channels, 0 to 255)"


def _declare() -> Iterator[Column]:
    yield Column("object_id", "int64", "", "meta.id;meta.main", "Identifier of the object, a 64-bit integer")
    yield Column(
        "source", "string", "", "meta.id", "Where the image came from: relative path, or the survey's own name"
    )
    yield Column("ra", "double", "deg", "pos.eq.ra;meta.main", "Right ascension, ICRS")
    yield Column("dec", "double", "deg", "pos.eq.dec;meta.main", "Declination, ICRS")
    for name, description in _SCORES.items():
        dtype = "double" if name == "score_anom" else "float"  # the networks' own precision
        yield Column(name, dtype, "", "stat.fit.residual", description)
        for form, (ucd, meaning) in _RELATIVE_FORMS.items():
            yield Column(f"{name}_{form}", "double", "", ucd, f"{name} {meaning}; {_LARGER}")
    yield Column(
        "hint_artefact",
        "float",
        "",
        "stat.probability",
        "Hint, no verdict, 0 to 1: odd by telescope and pipeline rather than by the sky",
    )
    said = "what experts' labels say of it and its like, 0 (none) to 1"
    yield Column("interest", "double", "", "stat.value", f"Expected interest: {said}")
    yield Column("interest_std", "double", "", "stat.error", "Standard deviation of interest, before a label is given")
    said = "Experts' labels"
    yield Column("label", "string", "", "meta.code.class", f"{said}: most probable class (Dawid & Skene 1979)")
    yield Column("label_probability", "double", "", "stat.probability", f"{said}: probability of that class")
    yield Column("label_n_votes", "int64", "", "meta.number", f"{said}: experts who voted on the object")
    yield Column("label_agreement", "double", "", "stat.value", f"{said}: part of the votes that are for that class")
    said = "Volunteers' answers"
    yield Column("classification_n_votes", "int64", "", "meta.number", f"{said}: users who answered on the object")
    yield Column("classification_n_interesting", "int64", "", "meta.number", f"{said}: those for interesting")
    part = f"{said}: part that is for interesting, 0 to 1"
    yield Column("classification_interesting", "double", "", "stat.value", part)
    bound = "95 % bound of that part (Wilson 1927)"
    yield Column("classification_lower", "double", "", "stat.value", f"{said}: lower {bound}")
    yield Column("classification_upper", "double", "", "stat.value", f"{said}: upper {bound}")
    masks = "Masks (flags, region files, MOCs)"
    yield Column("is_masked", "bool", "", "meta.code.qual", f"{masks}: inside any of them, or all where that was asked")
    yield Column("n_masks", "int64", "", "meta.number", f"{masks}: how many of them the object is inside")
    pieces = "Pieces of one galaxy, by friends of friends on the sky"
    yield Column("group_id", "int64", "", "meta.id.parent", f"{pieces}: smallest object_id of the group")
    yield Column("group_size", "int64", "", "meta.number", f"{pieces}: objects in the group")
    yield Column("group_rank", "int64", "", "stat.rank", f"{pieces}: place in the group, 1 the most anomalous")
    yield Column(
        "is_representative", "bool", "", "meta.code", f"{pieces}: first of its group, or without a position to group by"
    )
    joint = "Joint score: sum of -ln(part of the reference above) over conditional score_anom and score_gen, neighbor "
    joint += f"distance of the frame, and the conditional one of its center (Fisher 1932); {_LARGER}"
    yield Column("score_joint", "double", "", "stat.value", joint)
    for form, (ucd, meaning) in _RELATIVE_FORMS.items():
        yield Column(f"score_joint_{form}", "double", "", ucd, f"score_joint {meaning}; {_LARGER}")
    yield Column("rank", "int64", "", "stat.rank", "Place in the order first shown; 1 is the most anomalous")
    yield Column("brightness", "float", "", "phot", f"Image measure: mean {_GRAY}")
    yield Column("spread", "float", "", "stat.stdev", f"Image measure: standard deviation of the {_GRAY}")
    yield Column(
        "radius",
        "float",
        "pix",
        "phys.size.radius",
        "Image measure: light-weighted mean distance from the center, in pixels of a 96-pixel image",
    )
    yield Column("core", "float", "", "phot", f"Image measure: mean {_GRAY} of the central sixth")
    yield Column("background", "float", "", "instr.background", f"Image measure: median {_GRAY}")
    yield Column(
        "noise",
        "float",
        "",
        "instr.det.noise",
        f"Image measure: median difference of a pixel's {_GRAY} and its surroundings'",
    )
    yield Column(
        "inner_light", "float", "", "phot", f"Image measure: mean light above background within 24 pixels, {_GRAY}"
    )
    yield Column(
        "inner_radius", "float", "pix", "phys.size.radius", "Image measure: radius, of the light within 24 pixels alone"
    )
    yield Column(
        "outskirts", "float", "", "phot", f"Image measure: mean light above background beyond 24 pixels, {_GRAY}"
    )
    yield Column(
        "score_pca",
        "float",
        "",
        "stat.fit.residual",
        f"Baseline: root mean square difference of image and its pixel PCA reconstruction; {_LARGER}",
    )


COLUMNS: dict[str, Column] = {column.name: column for column in _declare()}

INDEX_COLUMN = "release_index"
RELEASED_NAMES: dict[str, str] = {  # released name: ours; Storey-Fisher 2021, data release
    "idx": INDEX_COLUMN,
    "HSC_object_id": "object_id",
    "ra": "ra",
    "dec": "dec",
    "discriminator_score_normalized": "score_disc_sigma",
    "generator_score_normalized": "score_gen_sigma",
    "combined_score_normalized": "score_anom_sigma",
}
# Beginnings of columns that may end in -NAME.
_CARRIES_NAME = ("label", "interest", "group_", "is_representative", "is_masked", "n_masks", "classification_")
_RELEASE_INDEX = Column(INDEX_COLUMN, "int64", "", "meta.record", "Row in the released catalog's own parent, its idx")
_INDEX = Column("idx", "int64", "", "meta.record", "Row in this product; match objects by HSC_object_id, never by idx")


def describe_schema(
    schema: pa.Schema, *, reconstruction_weight: float | None = None, combination_weight: float | None = None
) -> pa.Schema:
    """Attach unit, UCD and description to the known fields of a schema.

    Parameters
    ----------
    schema
        Any schema. Fields that are not in `COLUMNS` keep the metadata that they have; the known ones keep other keys.
    reconstruction_weight, combination_weight
        The weights of the scores, 0 to 1. Where given they are added to the schema's metadata under their names, and
        their values to the descriptions that mention them.

    Returns
    -------
    The same names, types and order. An `object_id` that is not int64 is refused.
    """
    weights = {"reconstruction_weight": reconstruction_weight, "combination_weight": combination_weight}
    given = {name: value for name, value in weights.items() if value is not None}
    for name, value in given.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be from 0 to 1, got {value}")
    metadata = {**(schema.metadata or {}), **{name.encode(): f"{value:g}".encode() for name, value in given.items()}}
    return pa.schema([_described(field, given) for field in schema], metadata=metadata or None)


def describe(
    table: pa.Table, *, reconstruction_weight: float | None = None, combination_weight: float | None = None
) -> pa.Table:
    """Attach unit, UCD and description to the known columns of a table; see `describe_schema`."""
    schema = describe_schema(
        table.schema, reconstruction_weight=reconstruction_weight, combination_weight=combination_weight
    )
    return pa.Table.from_arrays(table.columns, schema=schema)


def to_released(table: pa.Table, *, first_index: int = 0) -> pa.Table:
    """Return a catalog in the column names of the released one (Storey-Fisher et al. 2021).

    Parameters
    ----------
    table
        Must hold object_id, ra, dec and the three scores in sigma. Other columns are dropped.
    first_index
        ``idx`` of the first row, for a table that is one part of a streamed product. Where the table has a column
        ``release_index`` (an imported release) that is the ``idx`` instead.

    Notes
    -----
    The original's ``idx`` is the row of its authors' own catalog; ours is the row of the product, the same as ``idxs``
    of the HDF5 product of the same selection.
    """
    missing = [name for name in RELEASED_NAMES.values() if name != INDEX_COLUMN and name not in table.column_names]
    if missing:
        raise KeyError(f"the released columns need {', '.join(missing)}; the table has {', '.join(table.column_names)}")
    if INDEX_COLUMN in table.column_names:
        index = table[INDEX_COLUMN]
    else:
        index = pa.array(np.arange(first_index, first_index + table.num_rows, dtype=np.int64))
    described = describe(table)
    fields, arrays = [pa.field("idx", index.type, metadata=_INDEX.metadata())], [index]
    for released, ours in RELEASED_NAMES.items():
        if ours != INDEX_COLUMN:
            fields.append(described.schema.field(ours).with_name(released))
            arrays.append(described[ours])
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=described.schema.metadata))


def _other(field: pa.Field) -> Column | None:
    """The declaration of a column that carries a name, `score_forest_residual_sigma` say; None for what is none."""
    name = field.name
    if name == INDEX_COLUMN:
        return _RELEASE_INDEX
    if name.startswith(_CARRIES_NAME):
        own, _, of = name.partition("-")
        if own in COLUMNS and of:
            return replace(COLUMNS[own], name=name, description=f"{COLUMNS[own].description} ({of})")
    for kind, description in _OTHER_SCORES.items():
        if name.startswith(kind):
            form = next(
                (each for each in sorted(_RELATIVE_FORMS, key=len, reverse=True) if name.endswith(f"_{each}")), ""
            )
            ucd, meaning = _RELATIVE_FORMS.get(form, ("stat.fit.residual", ""))
            of = name.removeprefix(kind).removesuffix(f"_{form}")
            said = f"{description.format(of)}{', ' if meaning else ''}{meaning}; {_LARGER}"
            return Column(name, "double", "", ucd, said)
    for kind, (ucd, description) in _FOUND.items():
        if name.startswith(kind):
            return Column(name, str(field.type), "", ucd, description.format(name.removeprefix(kind)))
    return None


def _described(field: pa.Field, weights: dict[str, float]) -> pa.Field:
    if field.name == "object_id" and field.type != pa.int64():
        raise ValueError(f"object_id must be int64, got {field.type}; other types lose ids above 2**53 or their order")
    column = COLUMNS.get(field.name) or _other(field)
    if column is None:
        return field
    own = column.metadata()
    named = [f"{name} {value:g}" for name, value in weights.items() if name in column.description]
    if named:
        own[b"description"] += f" ({', '.join(named)})".encode()
    return field.with_metadata({**(field.metadata or {}), **own})
