"""Writes the codebooks beside this file as ggml's Python package carries them, packed.

Usage: python3 make.py (needs gguf 0.19.0; later versions should give the same bytes)
"""

import pathlib

import gguf.quants as quants

HERE = pathlib.Path(__file__).parent
GRIDS = {
    "iq2_xxs": (quants.IQ2_XXS, (8, 25, 43)),
    "iq2_xs": (quants.IQ2_XS, (8, 25, 43)),
    "iq2_s": (quants.IQ2_S, (8, 25, 43)),
    "iq3_xxs": (quants.IQ3_XXS, (4, 12, 20, 28, 36, 44, 52, 62)),
    "iq3_s": (quants.IQ3_S, (1, 3, 5, 7, 9, 11, 13, 15)),
    "iq1": (quants.IQ1_S, (-1, 0, 1)),
}

for name, (kind, values) in GRIDS.items():
    # mod.rs takes it for granted that these are the values behind the packed numbers.
    assert tuple(kind.grid_map) == values, name
    packed = bytes.fromhex(kind.grid_hex.decode("ascii"))
    assert len(packed) == 2 * kind.grid_shape[0], name
    HERE.joinpath(f"{name}.bin").write_bytes(packed)
    print(f"{name}.bin: {kind.grid_shape[0]} entries, {len(packed)} bytes")
