//! A server that has nothing to do does nothing: this test is a program of its own, so that only that is measured.

mod support;

use std::time::Duration;

use qwip_server::models::Settings;
use support::{BUILTIN, EMBEDDER, Shelf, Wanted, block_on, ids, outcome};

/// Nanoseconds that the threads of this process have run so far.
#[cfg(target_os = "linux")]
fn cpu_time() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("threads");
    let of = |task: std::fs::DirEntry| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    };
    tasks.flatten().filter_map(of).sum()
}

#[cfg(target_os = "linux")]
#[test]
fn idle_models_use_no_cpu() {
    let shelf = Shelf::new(&[BUILTIN, EMBEDDER], 512);
    block_on(async {
        let models = support::models(&shelf, Settings::default());
        let lease = models.get(BUILTIN).await.expect("the model");
        let embedder = models.get(EMBEDDER).await.expect("another");
        outcome(lease.generate(Wanted::new(ids(1, 50), 20).ask()).expect("a place")).await;
        embedder.embed(vec![ids(2, 20)], None).await.expect("a vector");
        drop((lease, embedder));
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = cpu_time();
        assert!(before > 0, "the kernel counts");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let used = Duration::from_nanos(cpu_time() - before);
        assert!(used < Duration::from_millis(5), "{used:?}");
        models.shutdown().await;
    });
}
