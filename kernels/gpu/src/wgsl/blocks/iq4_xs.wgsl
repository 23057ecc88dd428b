#include "blocks/common.wgsl"
#include "blocks/table.wgsl"

// -127 -104 -83 -65 -49 -35 -22 -10 1 13 25 38 53 69 89 113
const TABLE = vec4<u32>(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);

fn unit(at: u32) -> Unit {
    let w = 4u * at;
    let words = vec4<u32>(codes[w], codes[w + 1u], codes[w + 2u], codes[w + 3u]);
    let s = 3u * (at / 8u);
    let multiple = signed2(scales[s + 1u + at % 8u / 4u] >> (8u * (at % 4u)), 0u).x;
    return Unit(from_table(words, TABLE), vec2<f32>(half2(scales[s]).x * multiple), vec2<f32>(0.0));
}
