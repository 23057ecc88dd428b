//! Every type on the device: split, uploaded and written out, it is what the decoder says.

mod common;

use common::Rng;
use common::data::half_fields;
use qwip_gpu::layout::{Layout, split};
use qwip_quant::TensorType;
use qwip_quant::types::check_row;
use wgpu::util::DeviceExt;

/// Elements of a row: three blocks of the largest types, so that a run of two of them is not full.
const COLS: usize = 3 * 256;

/// Every type that can be decoded.
fn types() -> impl Iterator<Item = TensorType> {
    TensorType::ALL.into_iter().filter(|ty| ty.is_decodable())
}

/// A row of blocks. `fill` is the byte of all codes, or random ones; half precision scales are of every kind: zero, subnormal,
/// small and large, of both signs.
fn blocks(rng: &mut Rng, ty: TensorType, fill: Option<u8>) -> Vec<u8> {
    let mut bytes = vec![0; ty.row_bytes(COLS).unwrap()];
    let kinds =
        [0x0000u16, 0x8000, 0x0001, 0x8001, 0x03ff, 0x0400, 0x83ff, 0x2a00, 0xaa00, 0x3c00, 0xbc00, 0x7bff];
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        loop {
            block.fill_with(|| fill.unwrap_or(rng.bits() as u8));
            for &at in half_fields(ty).iter().filter(|_| ty.is_quantized()) {
                block[at..at + 2].copy_from_slice(&kinds[rng.below(kinds.len())].to_le_bytes());
            }
            match ty {
                TensorType::Mxfp4 => block[0] = [0, 1, 2, 120, 127, 135, 250][rng.below(7)],
                TensorType::Nvfp4 => {
                    block[..4].fill_with(|| [0, 1, 7, 8, 0x38, 0x7e, 0x7f, 0x80, 0xff][rng.below(9)]);
                }
                // The scale's upper nibble is the upper nibble of the last byte.
                TensorType::Iq1M => block[55] = block[55] & 15 | [0x00, 0x20, 0x30, 0x80, 0xb0][rng.below(5)],
                // Some of these are no numbers.
                TensorType::F32 | TensorType::F16 | TensorType::Bf16 if fill.is_some() => {
                    let last = block.len() - 1;
                    block[last] &= 0xbf;
                }
                _ => {}
            }
            if check_row(ty, block, ty.block_len()).is_ok() {
                break;
            }
        }
    }
    bytes
}

/// What is uploaded of some blocks.
fn parts(ty: TensorType, blocks: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let (layout, count) = (Layout::of(ty).unwrap(), blocks.len() / ty.block_bytes());
    let (mut codes, mut scales) =
        (vec![0xee; layout.code_bytes(count)], vec![0xee; layout.scale_bytes(count)]);
    split(ty, blocks, &mut codes, &mut scales);
    (codes, scales)
}

/// Of each element, the most that the device may be off: the rounding of its product and of its difference.
fn bounds(ty: TensorType, row: &[u8], decoded: &[f32]) -> Vec<f32> {
    let Some(group) = ty.group_len() else { return decoded.iter().map(|x| 1e-37f32.min(x.abs())).collect() };
    let groups = COLS / group;
    let (mut codes, mut scales, mut mins) = (vec![0; COLS], vec![0.0; groups], vec![0.0f32; groups]);
    qwip_quant::unpack_groups(ty, row, &mut codes, &mut scales, &mut mins).unwrap();
    let bound = |(i, code): (usize, &i8)| {
        let (scale, min) = (scales[i / group], mins[i / group]);
        3e-7 * ((scale * f32::from(*code)).abs() + min.abs()) + 1e-36
    };
    codes.iter().enumerate().map(bound).collect()
}

#[test]
fn every_type_is_decoded_as_the_cpu_does() {
    let Some(device) = Device::open() else { return };
    let mut rng = Rng(5);
    for ty in types() {
        let decode = device.kernel(&decode_source(ty));
        for fill in [None, None, None, Some(0x00), Some(0xff), Some(0x80), Some(0x7f), Some(0x3b)] {
            let row = blocks(&mut rng, ty, fill);
            let mut expected = vec![0.0; COLS];
            qwip_quant::decode_row(ty, &row, &mut expected).unwrap();
            let (codes, scales) = parts(ty, &row);
            let found = device.run(&decode, COLS, &codes, &scales, Layout::grid(ty));
            for (i, bound) in bounds(ty, &row, &expected).into_iter().enumerate() {
                let (found, expected) = (found[i], expected[i]);
                assert!(
                    (found - expected).abs() <= bound,
                    "{ty}, filled with {fill:?}: element {i} is {found:e}, not {expected:e}"
                );
            }
        }
    }
}

/// Scales that are no numbers, too: whatever is computed, it is computed.
#[test]
fn any_bytes_can_be_decoded() {
    let Some(device) = Device::open() else { return };
    let mut rng = Rng(6);
    for ty in types() {
        let decode = device.kernel(&decode_source(ty));
        for fill in [None, Some(0xff), Some(0x7c)] {
            let mut row = vec![0; ty.row_bytes(COLS).unwrap()];
            row.fill_with(|| fill.unwrap_or(rng.bits() as u8));
            let (codes, scales) = parts(ty, &row);
            assert_eq!(device.run(&decode, COLS, &codes, &scales, Layout::grid(ty)).len(), COLS);
        }
    }
}

/// Every half float, as a weight.
#[test]
fn half_floats_are_exact() {
    let Some(device) = Device::open() else { return };
    let decode = device.kernel(&decode_source(TensorType::F16));
    let bits: Vec<u16> = (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00).collect();
    let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
    let (codes, scales) = parts(TensorType::F16, &bytes);
    let found = device.run(&decode, bits.len(), &codes, &scales, None);
    for (found, bits) in found.into_iter().zip(bits) {
        assert_eq!(found, half::f16::from_bits(bits).to_f32(), "{bits:#06x}");
    }
}

/// `decode.wgsl` for a type.
fn decode_source(ty: TensorType) -> String {
    let layout = Layout::of(ty).unwrap();
    let defined = |name: &str| match name {
        "SCALES" => layout.scale_bytes(1) > 0,
        "GRID" => Layout::grid(ty).is_some(),
        name => panic!("{name}"),
    };
    let mut text = String::new();
    let mut counts = true;
    for line in include_str!("decode.wgsl").lines() {
        if let Some(name) = line.strip_prefix("#if ") {
            counts = defined(name);
        } else if line == "#endif" {
            counts = true;
        } else if line == "#include \"unit.wgsl\"" {
            include(layout.file(), &mut text);
        } else if counts {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// Adds a file of the crate and what it includes.
fn include(name: &str, text: &mut String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/wgsl").join(name);
    for line in std::fs::read_to_string(path).expect(name).lines() {
        match line.strip_prefix("#include ") {
            Some(name) => include(name.trim_matches('"'), text),
            None => text.extend([line, "\n"]),
        }
    }
}

/// The default adapter, without the crate's own ways of running kernels: this one is not among them.
struct Device {
    device: wgpu::Device,
    queue: wgpu::Queue,
}

impl Device {
    /// `None` where there is none, unless QWIP_REQUIRE_GPU says that there must be.
    fn open() -> Option<Self> {
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default()));
        if adapter.is_err() {
            assert!(
                std::env::var_os("QWIP_REQUIRE_GPU").is_none(),
                "QWIP_REQUIRE_GPU is set, and there is no adapter"
            );
            println!("SKIPPED: no adapter");
        }
        let opened = adapter.ok()?.request_device(&wgpu::DeviceDescriptor::default());
        let (device, queue) = pollster::block_on(opened).unwrap();
        Some(Self { device, queue })
    }

    fn kernel(&self, source: &str) -> wgpu::ComputePipeline {
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(source.into()),
        });
        self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions::default(),
            cache: None,
        })
    }

    /// Runs `decode.wgsl` over `weights` weights.
    fn run(
        &self,
        decode: &wgpu::ComputePipeline,
        weights: usize,
        codes: &[u8],
        scales: &[u8],
        grid: Option<Vec<u32>>,
    ) -> Vec<f32> {
        let buffer = |contents: &[u8], usage| {
            self.device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage })
        };
        let padded = vec![0; weights.div_ceil(32) * 128];
        let out = buffer(&padded, wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC);
        let back = buffer(&padded, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let mut bound = vec![out.clone(), buffer(codes, wgpu::BufferUsages::STORAGE)];
        if !scales.is_empty() {
            bound.push(buffer(scales, wgpu::BufferUsages::STORAGE));
        }
        if let Some(grid) = grid {
            bound.push(buffer(bytemuck::cast_slice(&grid), wgpu::BufferUsages::STORAGE));
        }
        let entries: Vec<_> = (0u32..)
            .zip(&bound)
            .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &decode.get_bind_group_layout(0),
            entries: &entries,
        });
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        pass.set_pipeline(decode);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups((weights / 32).div_ceil(64) as u32, 1, 1);
        drop(pass);
        encoder.copy_buffer_to_buffer(&out, 0, &back, 0, padded.len() as u64);
        self.queue.submit([encoder.finish()]);
        back.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
        self.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let bytes = back.get_mapped_range(..).unwrap();
        let (floats, _) = bytes.as_chunks::<4>();
        floats.iter().take(weights).map(|b| f32::from_le_bytes(*b)).collect()
    }
}
