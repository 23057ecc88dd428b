// The RMS norm of each value head's answer, times the silu of its gate. A workgroup takes one head of one token.

struct Params {
    n: u32,
    values: u32,
    value_dim: u32,
    channels: u32, // from token to token in y
    first: u32,    // where a token's answers start
    eps: f32,
}

@group(0) @binding(0) var<storage, read> y: array<f32>;         // [n, channels]
@group(0) @binding(1) var<storage, read> z: array<f32>;         // [n, values * value_dim]
@group(0) @binding(2) var<storage, read> norm: array<f32>;      // [value_dim]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [n, values * value_dim]
var<immediate> p: Params;

const THREADS = 64u;
var<workgroup> sums: array<f32, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = id.x + id.y * count.x;
    if group >= p.n * p.values {
        return;
    }
    let start = group / p.values * p.channels + p.first + group % p.values * p.value_dim;
    let to = group * p.value_dim;
    var sum = 0.0;
    for (var i = local; i < p.value_dim; i += THREADS) {
        let x = y[start + i];
        sum = fma(x, x, sum);
    }
    sums[local] = sum;
    for (var step = THREADS / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if local < step {
            sums[local] += sums[local + step];
        }
    }
    workgroupBarrier();
    let scale = 1.0 / sqrt(sums[0] / f32(p.value_dim) + p.eps);
    for (var i = local; i < p.value_dim; i += THREADS) {
        let gate = z[to + i];
        out[to + i] = gate / (1.0 + exp(-gate)) * (y[start + i] * scale * norm[i]);
    }
}
