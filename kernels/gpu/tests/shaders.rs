//! Every permutation of every kernel is valid WGSL; needs no GPU.

use std::collections::BTreeSet;

use qwip_gpu::shaders;

#[test]
fn every_permutation_is_valid() {
    let mut validator = naga::valid::Validator::new(
        naga::valid::ValidationFlags::all(),
        naga::valid::Capabilities::IMMEDIATES
            | naga::valid::Capabilities::SUBGROUP
            | naga::valid::Capabilities::SHADER_FLOAT16
            | naga::valid::Capabilities::SHADER_FLOAT16_IN_FLOAT32,
    );
    validator.subgroup_stages(naga::valid::ShaderStages::COMPUTE);
    validator.subgroup_operations(naga::valid::SubgroupOperationSet::all());
    let mut seen = BTreeSet::new();
    for (kernel, options) in shaders::permutations() {
        let source =
            shaders::source(kernel, &options).unwrap_or_else(|e| panic!("{kernel:?} {options:?}: {e}"));
        // Options that a file does not look at make no difference.
        if !seen.insert(source.clone()) {
            continue;
        }
        let module = naga::front::wgsl::parse_str(&source)
            .unwrap_or_else(|e| panic!("{kernel:?} {options:?}: {}", e.emit_to_string(&source)));
        if let Err(e) = validator.validate(&module) {
            panic!("{kernel:?} {options:?}: {}", e.emit_to_string(&source));
        }
    }
    println!("{} different kernels", seen.len());
    assert!(seen.len() > 100);
}
