// Adds up the squares of what meets the columns of a matrix; with EXPERTS of those of each expert's, and counts its slots.

struct Params {
    cols: u32,
    rows: u32, // of x, or slots
    used: u32, // slots that share a row of x
    experts: u32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<f32>;            // [rows, cols]
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;   // [experts, cols], and then [experts] counts
#if EXPERTS
@group(0) @binding(2) var<storage, read> ids: array<u32>;          // [slots]
#endif

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let c = id.x * 64u + thread;
    if c >= p.cols {
        return;
    }
    var sum = 0.0;
    var count = 0u;
    for (var row = 0u; row < p.rows; row++) {
#if EXPERTS
        if ids[row] != id.y {
            continue;
        }
#endif
        let v = x[row / p.used * p.cols + c];
        sum += v * v;
        count++;
    }
    sums[id.y * p.cols + c] = sum;
    if c == 0u {
        sums[p.experts * p.cols + id.y] = f32(count);
    }
}
