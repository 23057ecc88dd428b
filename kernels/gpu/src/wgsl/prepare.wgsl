// Makes the input of a matrix product of many tokens: a token's numbers and their largest magnitude.
//
// NORM: out = x / rms(x) * g. SILU: out = silu(gate) * up, where the row holds the gates and then the ups.

struct Params {
    cols: u32,
    x_at: u32,
    x_stride: u32,
    eps: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<f32>;             // [tokens, cols], or [tokens, 2, cols]
@group(0) @binding(1) var<storage, read_write> out: array<f32>;     // [tokens, cols]
@group(0) @binding(2) var<storage, read_write> largest: array<f32>; // [tokens]
#if NORM
@group(0) @binding(3) var<storage, read> norm: array<f32>;          // [cols]
#endif

var<workgroup> shared_values: array<f32, 128>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let token = id.x + id.y * count.x;
    let at = p.x_at + token * p.x_stride;
    if token >= arrayLength(&largest) {
        return;
    }
    var inverse = 1.0;
#if NORM
    var squares = 0.0;
    for (var c = thread; c < p.cols; c += 128u) {
        squares += x[at + c] * x[at + c];
    }
    shared_values[thread] = squares;
    for (var step = 64u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if thread < step {
            shared_values[thread] += shared_values[thread + step];
        }
    }
    workgroupBarrier();
    inverse = inverseSqrt(shared_values[0] / f32(p.cols) + p.eps);
    workgroupBarrier();
#endif
    var most = 0.0;
    for (var c = thread; c < p.cols; c += 128u) {
        var y = x[at + c];
#if NORM
        y = y * inverse * norm[c];
#endif
#if SILU
        y = y / (1.0 + exp(-y)) * x[at + p.cols + c];
#endif
        out[token * p.cols + c] = y;
        most = max(most, abs(y));
    }
    shared_values[thread] = most;
    for (var step = 64u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if thread < step {
            shared_values[thread] = max(shared_values[thread], shared_values[thread + step]);
        }
    }
    if thread == 0u {
        largest[token] = shared_values[0];
    }
}
