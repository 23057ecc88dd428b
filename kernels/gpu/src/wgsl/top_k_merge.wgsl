// The k best of what the workgroups of top_k found in their parts of the vocabulary. One workgroup; a thread keeps for
// each of its parts how many of the part's best are taken.

#include "best.wgsl"

struct Params {
    k: u32,
    parts: u32, // at most 1024
    sharpness: f32,
}

@group(0) @binding(0) var<storage, read> parts: array<vec2<u32>>; // [parts, k + 2]
// The largest logit (bits of f32); the sum of exp((logit - largest) * sharpness); how many could have been chosen; how many
// logits of all were not finite; then k pairs, best first: logit, id. Pairs beyond what could be chosen are zeros.
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
var<immediate> p: Params;

const PART = 2048u;
var<workgroup> taken: array<u32, 1024>;

fn best_of_mine(local: u32) -> vec2<u32> {
    var found = vec2<u32>(0u);
    for (var i = local; i < p.parts; i += THREADS) {
        if taken[i] < p.k {
            found = better(found, parts[i * (p.k + 2u) + 2u + taken[i]]);
        }
    }
    return found;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(local_invocation_index) local: u32) {
    for (var i = local; i < p.parts; i += THREADS) {
        taken[i] = 0u;
    }
    var candidate = best_of_mine(local);
    var mine = vec3<f32>(0.0);
    var largest = 0u;
    for (var i = 0u; i < p.k; i++) {
        let found = best(local, candidate);
        if i == 0u && found.x != 0u {
            largest = logit(found.x);
        }
        if local == 0u {
            out[4u + 2u * i] = select(0u, logit(found.x), found.x != 0u);
            out[5u + 2u * i] = select(0u, found.y, found.x != 0u);
        }
        if found.x != 0u && found.y / PART % THREADS == local {
            taken[found.y / PART] += 1u;
            candidate = best_of_mine(local);
        }
    }
    for (var i = local; i < p.parts; i += THREADS) {
        let at = i * (p.k + 2u);
        mine.y += f32(parts[at].y);
        mine.z += f32(parts[at + 1u].x);
        if parts[at].y > 0u {
            let distance = bitcast<f32>(logit(parts[at + 2u].x)) - bitcast<f32>(largest);
            mine.x += bitcast<f32>(parts[at].x) * exp(distance * p.sharpness);
        }
    }
    let sum = total(local, mine);
    if local == 0u {
        out[0] = largest;
        out[1] = bitcast<u32>(sum.x);
        out[2] = u32(sum.y);
        out[3] = u32(sum.z);
    }
}
