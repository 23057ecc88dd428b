#include "blocks/common.wgsl"

fn unit(at: u32) -> Unit {
    let w = 4u * at;
    let s = half2(scales[at]);
    let words = vec4<u32>(codes[w], codes[w + 1u], codes[w + 2u], codes[w + 3u]);
    return Unit(nibbles(words, 0.0), vec2<f32>(s.x), vec2<f32>(-s.y));
}
