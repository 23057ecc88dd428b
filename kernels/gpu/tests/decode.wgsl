// Writes the weights of every unit out.
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> codes: array<u32>;
#if SCALES
@group(0) @binding(2) var<storage, read> scales: array<u32>;
#endif
#if GRID
@group(0) @binding(3) var<storage, read> grid: array<u32>;
#endif

#include "unit.wgsl"

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= arrayLength(&out) / 8u {
        return;
    }
    var u = unit(id.x);
    for (var v = 0u; v < 8u; v++) {
        out[8u * id.x + v] = u.scale[v / 4u] * u.codes[v] - u.min[v / 4u];
    }
}
