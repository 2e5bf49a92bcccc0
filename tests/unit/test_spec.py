import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_sdk.errors import ModelSpecError
from restore_sdk.spec import METADATA_KEY, SCHEMA, ModelSpec

NAMES = {"name": "n", "method": "unir", "task": "denoise"}
MINIMAL = json.dumps(NAMES)


@given(
    channels=st.integers(1, 4),
    multiple=st.integers(1, 64),
    radius=st.none() | st.integers(0, 512),
    layers=st.lists(st.text(max_size=8), max_size=3).map(tuple),
    quality=st.lists(st.fixed_dictionaries({"set": st.text(max_size=5), "psnr": st.floats(0, 60)}), max_size=2).map(tuple),
)
def test_json_round_trip(channels, multiple, radius, layers, quality) -> None:
    spec = ModelSpec(
        name="n", method="m", task="t", channels=channels, size_multiple=multiple, receptive_radius=radius, global_ops=layers,
        quality=quality,
    )  # fmt: skip
    assert ModelSpec.from_json(spec.to_json()) == spec


def test_json_is_sorted_compact_and_without_the_digest() -> None:
    text = dataclasses.replace(ModelSpec.from_json(MINIMAL), sha256="abc").to_json()
    assert "sha256" not in text
    assert list(json.loads(text)) == sorted(json.loads(text))
    assert ": " not in text


def test_defaults_are_those_of_a_plain_colour_network() -> None:
    spec = ModelSpec.from_metadata({METADATA_KEY: MINIMAL}, sha256="abc")
    assert (spec.channels, spec.scale, spec.inputs, spec.value_range, spec.size_multiple) == (3, 1, ("image",), (0.0, 1.0), 1)
    assert (spec.receptive_radius, spec.global_ops, spec.schema, spec.sha256) == (None, (), SCHEMA, "abc")


def test_lists_become_tuples() -> None:
    spec = ModelSpec.from_json(json.dumps({**NAMES, "inputs": ["image", "mask"], "value_range": [-1, 1]}))
    assert (spec.inputs, spec.value_range) == (("image", "mask"), (-1, 1))


def test_newer_schema_says_upgrade_even_when_its_fields_are_unknown() -> None:
    with pytest.raises(ModelSpecError, match=r"schema 2, this release reads up to 1; upgrade: pip install -U restore-sdk"):
        ModelSpec.from_json(json.dumps({**NAMES, "schema": 2, "brand_new": True}))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "JSON list, not an object"),
        ("3", "JSON int, not an object"),
        ("{}", "missing or unknown fields"),
        (json.dumps({**NAMES, "colour": 3}), "missing or unknown fields"),
        (json.dumps({**NAMES, "channels": 0}), "channels=0"),
        (json.dumps({**NAMES, "scale": "2"}), "scale='2'"),
        (json.dumps({**NAMES, "size_multiple": -4}), "size_multiple=-4"),
        (json.dumps({**NAMES, "receptive_radius": -1}), "receptive_radius=-1"),
        (json.dumps({**NAMES, "fast_halo": 1.5}), r"fast_halo=1\.5"),
        ("[" * 100_000, "not JSON"),
        (None, "not JSON"),
        (json.dumps({**NAMES, "channels": True}), "channels=True, expected an integer from 1 to 4096; export the model again"),
        (json.dumps({**NAMES, "scale": 65}), "scale=65"),
        (json.dumps({**NAMES, "size_multiple": 10**9}), "size_multiple=1000000000, expected an integer from 1 to 1024"),
        (json.dumps({**NAMES, "min_size": 10**9}), "min_size=1000000000"),
        (json.dumps({**NAMES, "receptive_radius": 10**12}), "receptive_radius=1000000000000"),
        (json.dumps({**NAMES, "fast_error": "x"}), "fast_error='x'"),
        (json.dumps({**NAMES, "fast_error": math.nan}), "fast_error=nan"),
        (json.dumps({**NAMES, "bytes_per_pixel": 0}), "bytes_per_pixel=0"),
        (json.dumps({**NAMES, "bytes_per_pixel": -5.0}), r"bytes_per_pixel=-5\.0"),
        (json.dumps({**NAMES, "bytes_per_pixel": []}), r"bytes_per_pixel=\[\]"),
        (json.dumps({**NAMES, "value_range": [1, 0]}), r"value_range=\(1, 0\), expected two numbers"),
        (json.dumps({**NAMES, "value_range": [0, 0]}), "value_range"),
        (json.dumps({**NAMES, "value_range": [0, 1e-9]}), "value_range"),
        (json.dumps({**NAMES, "value_range": [0, 1, 2]}), "value_range"),
        (json.dumps({**NAMES, "value_range": "01"}), "value_range='01'"),
        (json.dumps({**NAMES, "value_range": [0, math.inf]}), "value_range"),
        (json.dumps({**NAMES, "inputs": "image"}), "inputs='image', expected the names"),
        (json.dumps({**NAMES, "inputs": []}), "inputs"),
        (json.dumps({**NAMES, "inputs": [["image"]]}), "inputs"),
        (json.dumps({**NAMES, "global_ops": [1]}), "global_ops"),
        (json.dumps({**NAMES, "quality": {"psnr": 30}}), "quality={'psnr': 30}, expected objects"),
        (json.dumps({**NAMES, "quality": ["x"]}), "quality"),
        (json.dumps({**NAMES, "quality": "x" * 500}), r"quality='x{76}\.\.\., expected"),
        (json.dumps({**NAMES, "source": {"torch": 2}}), "source"),
        (json.dumps({**NAMES, "name": 3}), "name=3, expected text"),
        (json.dumps({**NAMES, "precision": None}), "precision=None"),
        (json.dumps({**NAMES, "schema": True}), "schema=True"),
    ],
)
def test_unusable_text(text: str | None, says: str) -> None:
    with pytest.raises(ModelSpecError, match=says):
        ModelSpec.from_json(text)  # type: ignore[arg-type]


def test_file_without_spec_names_the_key_and_the_remedy() -> None:
    with pytest.raises(ModelSpecError, match=r"no metadata key 'restore_sdk\.spec'; export the model again"):
        ModelSpec.from_metadata({"other": MINIMAL})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [field.name for field in dataclasses.fields(ModelSpec) if field.name != "sha256"]


@given(changes=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3))
def test_any_json_gives_a_spec_that_round_trips_or_a_spec_error(changes) -> None:
    try:
        spec = ModelSpec.from_json(json.dumps({**NAMES, **changes}))
    except ModelSpecError:
        return
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert spec.value_range[0] < spec.value_range[1]
