#include "blocks/common.wgsl"
#include "blocks/table.wgsl"

// Twice 0 0.5 1 1.5 2 3 4 6 and the same with a minus.
const TABLE = vec4<u32>(0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu);

fn unit(at: u32) -> Unit {
    let w = 4u * at;
    let words = vec4<u32>(codes[w], codes[w + 1u], codes[w + 2u], codes[w + 3u]);
    // Half of what the exponent says, as the table has doubles; the two smallest are zero here, not subnormal.
    let exponent = (scales[at / 4u] >> (8u * (at % 4u))) & 255u;
    let d = bitcast<f32>((max(exponent, 1u) - 1u) << 23u);
    return Unit(from_table(words, TABLE), vec2<f32>(d), vec2<f32>(0.0));
}
