// Adds the weighted answers of each token's experts to its state: the chosen ones in ascending order, then the shared one.
// A thread takes one element.

struct Params {
    n: u32,
    width: u32,
    used: u32,
    shared_scale: f32, // factor of the shared expert's down projection
}

@group(0) @binding(0) var<storage, read> answers: array<f32>;   // [n * used, width]
@group(0) @binding(1) var<storage, read> weights: array<f32>;   // [n, used]
@group(0) @binding(2) var<storage, read_write> x: array<f32>;   // [n, width]
#if SHARED
@group(0) @binding(3) var<storage, read> of_all: array<f32>;    // [n, width], answers of the expert that all tokens share
@group(0) @binding(4) var<storage, read> gates: array<f32>;     // [n], before the sigmoid
#endif
var<immediate> p: Params;

const THREADS = 256u;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let at = (id.x + id.y * count.x) * THREADS + local;
    if at >= p.n * p.width {
        return;
    }
    let t = at / p.width;
    let column = at % p.width;
    var sum = 0.0;
    for (var slot = t * p.used; slot < (t + 1u) * p.used; slot++) {
        sum += weights[slot] * answers[slot * p.width + column];
    }
#if SHARED
    sum += 1.0 / (1.0 + exp(-gates[t])) * (p.shared_scale * of_all[at]);
#endif
    x[at] += sum;
}
