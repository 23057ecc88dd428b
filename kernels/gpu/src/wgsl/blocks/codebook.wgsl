// The types whose codes are entries of a codebook, four magnitudes to a word of `grid`, and signs, a bit for each.

// Four codes with the signs in the lowest bits of `signs`.
fn with_signs(magnitudes: u32, signs: u32) -> vec4<f32> {
    let negative = (vec4<u32>(signs) << vec4<u32>(31u, 30u, 29u, 28u)) & vec4<u32>(0x80000000u);
    return bitcast<vec4<f32>>(bitcast<vec4<u32>>(bytes(magnitudes, 0.0)) | negative);
}

// Four entries of two words.
fn eights(index: vec4<u32>, signs: u32) -> array<vec4<f32>, 8> {
    let i = 2u * index;
    return array<vec4<f32>, 8>(
        with_signs(grid[i.x], signs), with_signs(grid[i.x + 1u], signs >> 4u),
        with_signs(grid[i.y], signs >> 8u), with_signs(grid[i.y + 1u], signs >> 12u),
        with_signs(grid[i.z], signs >> 16u), with_signs(grid[i.z + 1u], signs >> 20u),
        with_signs(grid[i.w], signs >> 24u), with_signs(grid[i.w + 1u], signs >> 28u),
    );
}

// Eight entries of a word.
fn fours(low: vec4<u32>, high: vec4<u32>, signs: u32) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(
        with_signs(grid[low.x], signs), with_signs(grid[low.y], signs >> 4u),
        with_signs(grid[low.z], signs >> 8u), with_signs(grid[low.w], signs >> 12u),
        with_signs(grid[high.x], signs >> 16u), with_signs(grid[high.y], signs >> 20u),
        with_signs(grid[high.z], signs >> 24u), with_signs(grid[high.w], signs >> 28u),
    );
}

// Four times 7 signs, and eighth ones that make the number of negative ones even: a byte each.
fn even_signs(seven: vec4<u32>) -> u32 {
    let low = seven & vec4<u32>(127u);
    let eight = low | ((countOneBits(low) & vec4<u32>(1u)) << vec4<u32>(7u));
    return eight.x | (eight.y << 8u) | (eight.z << 16u) | (eight.w << 24u);
}
