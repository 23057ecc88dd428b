// Two half floats as f32, the lower one first. Exact, subnormal ones too, which unpack2x16float may take for zero.
fn half2(word: u32) -> vec2<f32> {
    let bits = vec2<u32>(word & 0xffffu, word >> 16u);
    let magnitude = bits & vec2<u32>(0x7fffu);
    // A subnormal one is read as if it had the leading 1 of the smallest exponent, which is then taken away.
    let tiny = magnitude < vec2<u32>(0x400u);
    let exponent = select(vec2<u32>(0x38000000u), vec2<u32>(0x38800000u), tiny);
    let value = bitcast<vec2<f32>>((magnitude << vec2<u32>(13u)) + exponent);
    let leading = select(vec2<f32>(0.0), vec2<f32>(0x1p-14f), tiny);
    let special = select(vec2<u32>(0u), vec2<u32>(0x7f800000u), magnitude >= vec2<u32>(0x7c00u));
    let sign = (bits & vec2<u32>(0x8000u)) << vec2<u32>(16u);
    return bitcast<vec2<f32>>(bitcast<vec2<u32>>(value - leading) | special | sign);
}
