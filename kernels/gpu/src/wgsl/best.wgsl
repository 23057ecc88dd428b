// What both steps of the search for the largest logits use. A candidate is a vector: the place of its logit in the order
// of bit patterns, which is the order of the numbers, then its id; place 0 is nobody's.

const THREADS = 256u;
var<workgroup> all: array<vec2<u32>, THREADS>;
var<workgroup> some: array<vec2<u32>, 16>;
var<workgroup> sums: array<vec3<f32>, THREADS>;

// The larger one, of equal ones that with the lower id.
fn better(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    return select(a, b, b.x > a.x || (b.x == a.x && b.y < a.y));
}

// The best of all threads' candidates, for all threads.
fn best(local: u32, mine: vec2<u32>) -> vec2<u32> {
    all[local] = mine;
    workgroupBarrier();
    if local < 16u {
        var found = all[local];
        for (var i = 1u; i < 16u; i++) {
            found = better(found, all[16u * i + local]);
        }
        some[local] = found;
    }
    // What is read after this is written again only after the next barrier.
    workgroupBarrier();
    var found = some[0];
    for (var i = 1u; i < 16u; i++) {
        found = better(found, some[i]);
    }
    return found;
}

// The sum over all threads, for all threads; once.
fn total(local: u32, mine: vec3<f32>) -> vec3<f32> {
    sums[local] = mine;
    for (var step = THREADS / 2u; step > 0u; step /= 2u) {
        workgroupBarrier();
        if local < step {
            sums[local] += sums[local + step];
        }
    }
    workgroupBarrier();
    return sums[0];
}

// The place of a logit.
fn place(bits: u32) -> u32 {
    return select(bits | 0x80000000u, ~bits, (bits >> 31u) == 1u);
}

// The bits of the logit at a place.
fn logit(place: u32) -> u32 {
    return select(~place, place & 0x7fffffffu, (place >> 31u) == 1u);
}
