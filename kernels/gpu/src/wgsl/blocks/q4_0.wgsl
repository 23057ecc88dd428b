#include "blocks/common.wgsl"

fn unit(at: u32) -> Unit {
    let w = 4u * at;
    let d = half2(scales[at / 2u] >> (16u * (at % 2u))).x;
    let words = vec4<u32>(codes[w], codes[w + 1u], codes[w + 2u], codes[w + 3u]);
    return Unit(nibbles(words, 8.0), vec2<f32>(d), vec2<f32>(0.0));
}
