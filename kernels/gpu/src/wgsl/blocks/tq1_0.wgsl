#include "blocks/common.wgsl"

// Weights 4 v to 4 v + 3 of unit u of a block whose codes begin at `first`. Of 32 bytes the first digits are unit 0, the
// second ones unit 1 and so on; of the next 16 the first digits are half a unit; of the last 4 they are an eighth.
fn digits(first: u32, u: u32, v: u32) -> vec4<f32> {
    var word = v;
    var place = u;
    if u >= 5u {
        word = 8u + v % 4u;
        place = 2u * (u - 5u) + v / 4u;
    }
    if u == 7u && v >= 4u {
        word = 12u;
        place = v - 4u;
    }
    let power = select((0x1b090301u >> (8u * (place % 4u))) & 255u, 81u, place == 4u);
    let fractions = spread(codes[first + word]);
    // What is left of the fraction after the digits before, times three: the whole part is the digit.
    let digit = (((fractions * power) & vec4<u32>(255u)) * 3u) >> vec4<u32>(8u);
    return vec4<f32>(digit) - 1.0;
}

fn unit(at: u32) -> Unit {
    let block = at / 8u;
    let b = 13u * block;
    let u = at % 8u;
    let c = array<vec4<f32>, 8>(
        digits(b, u, 0u), digits(b, u, 1u), digits(b, u, 2u), digits(b, u, 3u),
        digits(b, u, 4u), digits(b, u, 5u), digits(b, u, 6u), digits(b, u, 7u),
    );
    let d = half2(scales[block / 2u] >> (16u * (block % 2u))).x;
    return Unit(c, vec2<f32>(d), vec2<f32>(0.0));
}
