#include "blocks/common.wgsl"
#include "blocks/fives.wgsl"

fn unit(at: u32) -> Unit {
    let run = 20u * (at / 4u);
    let w = run + 4u * (at % 4u);
    let d = half2(scales[at / 2u] >> (16u * (at % 2u))).x;
    let words = vec4<u32>(codes[w], codes[w + 1u], codes[w + 2u], codes[w + 3u]);
    return Unit(fives(words, codes[run + 16u + at % 4u], 16.0), vec2<f32>(d), vec2<f32>(0.0));
}
