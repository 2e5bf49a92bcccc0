import dataclasses
import json

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
    ],
)
def test_unusable_text(text: str, says: str) -> None:
    with pytest.raises(ModelSpecError, match=says):
        ModelSpec.from_json(text)


def test_file_without_spec_names_the_key_and_the_remedy() -> None:
    with pytest.raises(ModelSpecError, match=r"no metadata key 'restore_sdk\.spec'; export the model again"):
        ModelSpec.from_metadata({"other": MINIMAL})
