// Groups the slots of all tokens (slot t * used + i has the i-th expert of token t) by expert, and cuts the groups into
// blocks of at most 32 slots for the matrix products. A workgroup finds the slots of one expert on its own: it counts
// those of the experts before, which is where its own start.
//
// The blocks of expert e start at floor(start / 32) + e: the slots of an expert from `start` on never need more entries
// than lie between its number and the next one's. Entries that are left over have a count of 0.

struct Params {
    slots: u32,
    experts: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;          // [slots]
@group(0) @binding(1) var<storage, read_write> order: array<u32>;  // [slots]: of each expert in turn, ascending
@group(0) @binding(2) var<storage, read_write> blocks: array<u32>; // [slots / 32 + experts, 3]: expert, first of order, count
var<immediate> p: Params;

const THREADS = 128u;
const TILE_TOKENS = 32u;
var<workgroup> sums: array<vec2<u32>, THREADS>;

@compute @workgroup_size(THREADS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let expert = id.x + id.y * count.x;
    if expert >= p.experts {
        return;
    }
    let share = (p.slots + THREADS - 1u) / THREADS;
    let begin = min(p.slots, local * share);
    let end = min(p.slots, begin + share);
    var mine = vec2<u32>(0u); // slots of experts before, of this one
    for (var slot = begin; slot < end; slot++) {
        let other = ids[slot];
        mine += vec2<u32>(u32(other < expert), u32(other == expert));
    }
    // Sums over all threads up to each.
    sums[local] = mine;
    for (var step = 1u; step < THREADS; step *= 2u) {
        workgroupBarrier();
        var before = vec2<u32>(0u);
        if local >= step {
            before = sums[local - step];
        }
        workgroupBarrier();
        sums[local] += before;
    }
    workgroupBarrier();
    let start = sums[THREADS - 1u].x;
    let len = sums[THREADS - 1u].y;

    var at = start + sums[local].y - mine.y;
    for (var slot = begin; slot < end; slot++) {
        if ids[slot] == expert {
            order[at] = slot;
            at += 1u;
        }
    }
    let entry = start / TILE_TOKENS + expert;
    let next = (start + len) / TILE_TOKENS + expert + 1u;
    for (var i = entry + local; i < next; i += THREADS) {
        let done = min(len, (i - entry) * TILE_TOKENS);
        blocks[3u * i] = expert;
        blocks[3u * i + 1u] = start + done;
        blocks[3u * i + 2u] = min(TILE_TOKENS, len - done);
    }
}
