// The codebook of the IQ1 types: entries of eight bytes, which are eight times -1, 0 or 1, plus 8. A code has 1 more or,
// where the bit of the entry in `minus` is set, 1 less.
fn ternary(index: vec4<u32>, minus: vec4<bool>) -> array<vec4<f32>, 8> {
    let i = 2u * index;
    let zero = select(vec4<f32>(7.0), vec4<f32>(9.0), minus);
    return array<vec4<f32>, 8>(
        bytes(grid[i.x], zero.x), bytes(grid[i.x + 1u], zero.x),
        bytes(grid[i.y], zero.y), bytes(grid[i.y + 1u], zero.y),
        bytes(grid[i.z], zero.z), bytes(grid[i.z + 1u], zero.z),
        bytes(grid[i.w], zero.w), bytes(grid[i.w + 1u], zero.w),
    );
}
