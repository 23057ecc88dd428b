#include "blocks/common.wgsl"

fn four(w: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(codes[w], codes[w + 1u], codes[w + 2u], codes[w + 3u]));
}

fn unit(at: u32) -> Unit {
    let w = 32u * at;
    let c = array<vec4<f32>, 8>(
        four(w), four(w + 4u), four(w + 8u), four(w + 12u), four(w + 16u), four(w + 20u), four(w + 24u), four(w + 28u),
    );
    return Unit(c, vec2<f32>(1.0), vec2<f32>(0.0));
}
