#include "blocks/common.wgsl"

fn four(w: u32) -> vec4<f32> {
    return vec4<f32>(half2(codes[w]), half2(codes[w + 1u]));
}

fn unit(at: u32) -> Unit {
    let w = 16u * at;
    let c = array<vec4<f32>, 8>(
        four(w), four(w + 2u), four(w + 4u), four(w + 6u), four(w + 8u), four(w + 10u), four(w + 12u), four(w + 14u),
    );
    return Unit(c, vec2<f32>(1.0), vec2<f32>(0.0));
}
