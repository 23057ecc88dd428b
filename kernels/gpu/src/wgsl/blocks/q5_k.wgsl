#include "blocks/common.wgsl"
#include "blocks/fives.wgsl"

fn unit(at: u32) -> Unit {
    let first = 40u * (at / 8u);
    let w = first + 4u * (at % 8u);
    let words = vec4<u32>(codes[w], codes[w + 1u], codes[w + 2u], codes[w + 3u]);
    let s = 5u * (at / 8u);
    let multiples = (vec2<u32>(scales[s + 1u + at % 8u / 2u] >> (16u * (at % 2u))) >> vec2<u32>(0u, 8u)) & vec2<u32>(255u);
    let m = half2(scales[s]) * vec2<f32>(multiples);
    return Unit(fives(words, codes[first + 32u + at % 8u], 0.0), m.xx, m.yy);
}
