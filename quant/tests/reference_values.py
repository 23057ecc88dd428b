"""Prints what others decode from random blocks, as src/types/small_tests.rs has it.

Usage: python3 reference_values.py [PATH/TO/libggml-base.so]

Decodes with the Python package gguf (0.19.0), or with the library if one is given (the package llama-cpp-python
carries one); the library knows two types more.
"""

import ctypes
import sys

import gguf
import numpy

# Name: id, bytes of a block, elements of a block.
TYPES = {
    "NVFP4": (40, 36, 64), "IQ1_S": (19, 50, 256), "IQ1_M": (29, 56, 256), "IQ2_XXS": (16, 66, 256),
    "IQ2_XS": (17, 74, 256), "IQ2_S": (22, 82, 256), "IQ3_XXS": (18, 98, 256), "IQ3_S": (21, 110, 256),
    "TQ1_0": (34, 54, 256), "TQ2_0": (35, 66, 256), "Q1_0": (41, 18, 128), "Q2_0": (42, 18, 64),
}
BLOCKS = 1000
MASK = (1 << 64) - 1


def noise(state, count):
    """Bytes that look random: the top ones of xorshift64*."""
    out = bytearray()
    for _ in range(count):
        state ^= (state << 13) & MASK
        state ^= state >> 7
        state ^= (state << 17) & MASK
        out.append((state * 0x2545F4914F6CDD1D & MASK) >> 56)
    return bytes(out)


def decode(name, blocks, elements):
    if len(sys.argv) > 1:
        function = getattr(ctypes.CDLL(sys.argv[1]), f"dequantize_row_{name.lower()}")
        function.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int64]
        out = numpy.empty(BLOCKS * elements, dtype=numpy.float32)
        function(blocks, out.ctypes.data, out.size)
        return out
    if name in ("Q1_0", "Q2_0"):
        return None
    with numpy.errstate(all="ignore"):
        return gguf.dequantize(numpy.frombuffer(blocks, dtype=numpy.uint8), gguf.GGMLQuantizationType[name])


for name, (type_id, size, elements) in TYPES.items():
    values = decode(name, noise(type_id, BLOCKS * size), elements)
    if values is None:
        continue
    mixed = 0xCBF29CE484222325
    for bits in numpy.where(numpy.isnan(values), numpy.float32("nan"), values).view(numpy.uint32).tolist():
        mixed = (mixed ^ bits) * 0x100000001B3 & MASK
    print(f"{name} {mixed:#x}")
