// 32 codes of 5 bits: four words of low bits and one of fifth bits.
fn fives(w: vec4<u32>, high: u32, zero: f32) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(
        number(pick(w.x, 15u) | pick(high << 4u, 16u), zero),
        number(pick(w.x >> 16u, 15u) | pick(high >> 12u, 16u), zero),
        number(pick(w.y, 15u) | pick(high << 3u, 16u), zero),
        number(pick(w.y >> 16u, 15u) | pick(high >> 13u, 16u), zero),
        number(pick(w.z, 15u) | pick(high << 2u, 16u), zero),
        number(pick(w.z >> 16u, 15u) | pick(high >> 14u, 16u), zero),
        number(pick(w.w, 15u) | pick(high << 1u, 16u), zero),
        number(pick(w.w >> 16u, 15u) | pick(high >> 15u, 16u), zero),
    );
}
