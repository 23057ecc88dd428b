// 32 codes of 4 bits that point into a table of 16 signed bytes, which is four words.

// Four neighbours of a plane.
fn looked_up(word: u32, table: vec4<u32>) -> vec4<f32> {
    let q = (vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
    let odd = (q & vec4<u32>(4u)) != vec4<u32>(0u);
    let low = select(vec4<u32>(table.x), vec4<u32>(table.y), odd);
    let high = select(vec4<u32>(table.z), vec4<u32>(table.w), odd);
    let four = select(low, high, q >= vec4<u32>(8u));
    // The byte goes to the top of the word, where its sign is that of the whole.
    let top = four << (vec4<u32>(24u) - (q & vec4<u32>(3u)) * 8u);
    return vec4<f32>(bitcast<vec4<i32>>(top) >> vec4<u32>(24u));
}

fn from_table(w: vec4<u32>, table: vec4<u32>) -> array<vec4<f32>, 8> {
    return array<vec4<f32>, 8>(
        looked_up(w.x, table), looked_up(w.x >> 16u, table), looked_up(w.y, table), looked_up(w.y >> 16u, table),
        looked_up(w.z, table), looked_up(w.z >> 16u, table), looked_up(w.w, table), looked_up(w.w >> 16u, table),
    );
}
