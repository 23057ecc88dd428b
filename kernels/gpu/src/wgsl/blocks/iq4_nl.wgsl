#include "blocks/common.wgsl"
#include "blocks/table.wgsl"

// -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113
const TABLE = vec4<u32>(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);

fn unit(at: u32) -> Unit {
    let w = 4u * at;
    let words = vec4<u32>(codes[w], codes[w + 1u], codes[w + 2u], codes[w + 3u]);
    let d = half2(scales[at / 2u] >> (16u * (at % 2u))).x;
    return Unit(from_table(words, TABLE), vec2<f32>(d), vec2<f32>(0.0));
}
