#include "blocks/common.wgsl"
#include "blocks/fives.wgsl"

fn unit(at: u32) -> Unit {
    let run = 20u * (at / 4u);
    let w = run + 4u * (at % 4u);
    let s = half2(scales[at]);
    let words = vec4<u32>(codes[w], codes[w + 1u], codes[w + 2u], codes[w + 3u]);
    return Unit(fives(words, codes[run + 16u + at % 4u], 0.0), vec2<f32>(s.x), vec2<f32>(-s.y));
}
