//! Whatever ends `convert` and `quantize` too early, a full disk or `kill -9`: the output has its old content or is not
//! there, and the next run succeeds.

mod cli_common;

#[cfg(not(target_os = "linux"))]
#[test]
fn limits_and_kills_are_tried_on_linux_only() {
    eprintln!("skipped: full disks and kill -9 are tried on Linux only");
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fs;
    use std::os::unix::process::ExitStatusExt;
    use std::path::{Path, PathBuf};
    use std::process::{Command, Stdio};
    use std::time::Duration;

    use qwip::quant::gguf::Gguf;

    use crate::cli_common::{Outcome, arg, fixture, names, outcome, program, qwip};

    const BUILTIN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../builtin/builtin.gguf");
    const KILL: i32 = 9;
    const FILE_TOO_LARGE: i32 = 25;

    /// The program under a limit of 64 blocks of 512 bytes for each file. The signal for crossing it is `ignored`, so
    /// that the write fails as on a full disk; otherwise it ends the program at once.
    fn limited(args: &[&str], ignored: bool) -> Command {
        let mut shell = Command::new("sh");
        let trap = if ignored { "trap '' XFSZ; " } else { "" };
        let script = format!("{trap}ulimit -c 0; ulimit -f 64; exec \"$0\" \"$@\"");
        shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_qwip")).args(args);
        shell
    }

    /// The commands with the output that each is to write.
    fn commands(dir: &Path) -> Vec<(Vec<String>, PathBuf)> {
        let out = dir.join("out.gguf");
        let last = dir.join("out-00003-of-00003.gguf");
        let convert =
            ["convert", arg(&fixture("qwen3-kquant")), "--type", "f32", "-o", arg(&out)].map(String::from);
        let quantize =
            ["quantize", BUILTIN, arg(&out), "f16", "--allow-requantize", "-t", "2"].map(String::from);
        let in_three = |command: &[String], tensors: &str| {
            [command, &["--split-max-tensors".to_string(), tensors.to_string()]].concat()
        };
        vec![
            (convert.to_vec(), out.clone()),
            (in_three(&convert, "5"), last.clone()),
            (quantize.to_vec(), out),
            (in_three(&quantize, "16"), last),
        ]
    }

    fn words(command: &[String]) -> Vec<&str> {
        command.iter().map(String::as_str).collect()
    }

    #[test]
    fn a_disk_that_becomes_full_is_one_line_and_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        for (command, output) in commands(dir.path()) {
            let run = || -> Outcome { outcome(&mut limited(&words(&command), true), b"") };
            let line = run().fails(1);
            assert!(line.starts_with("cannot write ") && line.contains("out"), "{line}");
            assert!(line.contains(".gguf: ") && line.contains("File too large"), "{line}");
            assert!(names(dir.path()).is_empty(), "{command:?}: {:?}", names(dir.path()));
            fs::write(&output, "old").unwrap();
            run().fails(1);
            assert_eq!(names(dir.path()).len(), 1, "{command:?}: {:?}", names(dir.path()));
            assert_eq!(fs::read(&output).unwrap(), b"old");
            qwip(&words(&command)).ok();
            assert!(fs::read(&output).unwrap().starts_with(b"GGUF"));
            clear(dir.path());
        }
    }

    #[test]
    fn a_signal_for_a_file_that_is_too_large_is_like_a_kill() {
        let dir = tempfile::tempdir().unwrap();
        for (command, output) in commands(dir.path()) {
            fs::write(&output, "old").unwrap();
            let status = quiet(&mut limited(&words(&command), false)).status().unwrap();
            assert_eq!(status.signal(), Some(FILE_TOO_LARGE), "{command:?}: {status}");
            nothing_but_parts(dir.path(), &output);
            qwip(&words(&command)).ok();
            assert!(fs::read(&output).unwrap().starts_with(b"GGUF"));
            clear(dir.path());
        }
    }

    #[test]
    fn a_kill_leaves_what_was_there_and_the_next_run_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        for (command, output) in commands(dir.path()) {
            // Small models are written within milliseconds, so the kill may come too late: then once more.
            let in_time = (0..200).any(|attempt| {
                fs::write(&output, "old").unwrap();
                let mut child = quiet(program().args(words(&command))).spawn().unwrap();
                let has_begun = || names(dir.path()).iter().any(|name| name.ends_with(".part"));
                while !has_begun() && child.try_wait().unwrap().is_none() {
                    std::thread::sleep(Duration::from_micros(200));
                }
                std::thread::sleep(Duration::from_micros(attempt * 37 % 2000));
                child.kill().unwrap();
                let killed = child.wait().unwrap().signal() == Some(KILL);
                let found = fs::read(&output).unwrap();
                assert!(
                    found == b"old" || Gguf::parse(&found).is_ok(),
                    "{command:?} left {} bytes",
                    found.len()
                );
                let in_time = killed && found == b"old";
                if !in_time {
                    clear(dir.path());
                }
                in_time
            });
            assert!(in_time, "{command:?} was always faster than its kill");
            nothing_but_parts(dir.path(), &output);
            let left = names(dir.path()).len();
            qwip(&words(&command)).ok();
            assert!(fs::read(&output).unwrap().starts_with(b"GGUF"));
            assert!(names(dir.path()).len() >= left, "what another run has left is not ours to remove");
            clear(dir.path());
        }
    }

    /// The old output, and files under names that no reader takes for a model.
    fn nothing_but_parts(dir: &Path, output: &Path) {
        assert_eq!(fs::read(output).unwrap(), b"old");
        let other =
            names(dir).into_iter().filter(|name| !name.ends_with(".part") && dir.join(name) != output);
        assert_eq!(other.collect::<Vec<_>>(), Vec::<String>::new());
    }

    fn quiet(command: &mut Command) -> &mut Command {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
    }

    fn clear(dir: &Path) {
        for name in names(dir) {
            fs::remove_file(dir.join(name)).unwrap();
        }
    }
}
