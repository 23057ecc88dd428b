#include "blocks/common.wgsl"

// With the signs flipped the bytes are the codes plus 128.
fn signed4(word: u32) -> vec4<f32> {
    return bytes(word ^ 0x80808080u, 128.0);
}

fn unit(at: u32) -> Unit {
    let w = 8u * at;
    let d = half2(scales[at / 2u] >> (16u * (at % 2u))).x;
    let c = array<vec4<f32>, 8>(
        signed4(codes[w]), signed4(codes[w + 1u]), signed4(codes[w + 2u]), signed4(codes[w + 3u]),
        signed4(codes[w + 4u]), signed4(codes[w + 5u]), signed4(codes[w + 6u]), signed4(codes[w + 7u]),
    );
    return Unit(c, vec2<f32>(d), vec2<f32>(0.0));
}
