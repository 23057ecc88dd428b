"""Prints the blocks that the reference quantizers make of 256 given values, as src/types/golden_tests.rs has them.

Usage: python3 reference_blocks.py PATH/TO/libggml-base.so (the package llama-cpp-python carries one).
"""

import ctypes
import sys

TYPES = {
    "Q2_K": (10, 84), "Q3_K": (11, 110), "Q4_K": (12, 144), "Q5_K": (13, 176), "Q6_K": (14, 210),
    "IQ4_NL": (20, 144), "IQ4_XS": (23, 136), "TQ1_0": (34, 54), "TQ2_0": (35, 66), "NVFP4": (40, 144), "Q1_0": (41, 36),
    "Q2_0": (42, 72),
}


def value(i):
    """Pseudo-random 64ths, of another magnitude in each group of 16, two of which are zero."""
    numerator = (i * i * 37 + 29 * i + 7) % 251 - 125
    return numerator * ((i // 16 * 5) % 8) / 64.0


library = ctypes.CDLL(sys.argv[1])
quantize = library.ggml_quantize_chunk
quantize.restype = ctypes.c_size_t
quantize.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p] + 3 * [ctypes.c_int64] + [ctypes.c_void_p]
x = (ctypes.c_float * 256)(*[value(i) for i in range(256)])
for name, (type_id, size) in TYPES.items():
    block = (ctypes.c_uint8 * size)()
    assert quantize(type_id, x, block, 0, 1, 256, None) == size
    print(name, bytes(block).hex())
