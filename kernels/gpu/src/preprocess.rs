//! A preprocessor for WGSL: `#include "file"`, `#if NAME`, `#if !NAME`, `#else`, `#endif`, each on a line of its own, and
//! `{NAME}`, which becomes the value of a name in capitals.

/// A name that is defined, and its value; one without a value is a mere switch.
pub type Define = (&'static str, u32);

/// The text of `file` with everything included, chosen and replaced; `load` finds files by name.
///
/// # Errors
/// Says which line of which file is wrong. The files are part of the program, so only its tests see that.
pub fn preprocess(
    file: &str,
    load: &dyn Fn(&str) -> Option<&'static str>,
    defines: &[Define],
) -> Result<String, String> {
    let mut out = String::new();
    append(file, load, defines, &mut out, 0)?;
    Ok(out)
}

fn append(
    file: &str,
    load: &dyn Fn(&str) -> Option<&'static str>,
    defines: &[Define],
    out: &mut String,
    depth: usize,
) -> Result<(), String> {
    if depth > 8 {
        return Err(format!("{file}: files include each other"));
    }
    let text = load(file).ok_or_else(|| format!("{file}: there is no such file"))?;
    // For each #if that is open: whether its lines count, and whether those of its #else do.
    let mut open: Vec<(bool, bool)> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |what: &str| format!("{file}:{}: {what}", number + 1);
        let counts = open.iter().all(|(counts, _)| *counts);
        let trimmed = line.trim_start();
        if let Some(condition) = trimmed.strip_prefix("#if ") {
            let (name, wanted) = match condition.trim().strip_prefix('!') {
                Some(name) => (name, false),
                None => (condition.trim(), true),
            };
            let holds = defines.iter().any(|(defined, _)| *defined == name) == wanted;
            open.push((holds, !holds));
        } else if trimmed.starts_with("#else") {
            let last = open.last_mut().ok_or_else(|| wrong("#else without #if"))?;
            *last = (last.1, false);
        } else if trimmed.starts_with("#endif") {
            open.pop().ok_or_else(|| wrong("#endif without #if"))?;
        } else if !counts {
            continue;
        } else if let Some(name) = trimmed.strip_prefix("#include ") {
            // A braced part of the name is replaced, too.
            let name = substitute(name.trim().trim_matches('"'), defines).map_err(|e| wrong(&e))?;
            append(&name, load, defines, out, depth + 1)?;
        } else if trimmed.starts_with('#') {
            return Err(wrong("an unknown directive"));
        } else {
            out.push_str(&substitute(line, defines).map_err(|e| wrong(&e))?);
            out.push('\n');
        }
    }
    match open.is_empty() {
        true => Ok(()),
        false => Err(format!("{file}: #if without #endif")),
    }
}

fn substitute(line: &str, defines: &[Define]) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('{') {
        let name_len = rest[start + 1..]
            .find(|c: char| !c.is_ascii_uppercase() && !c.is_ascii_digit() && c != '_')
            .unwrap_or(rest.len() - start - 1);
        let name = &rest[start + 1..start + 1 + name_len];
        let after = &rest[start + 1 + name_len..];
        if name.is_empty() || !after.starts_with('}') {
            out.push_str(&rest[..=start]);
            rest = &rest[start + 1..];
            continue;
        }
        let (_, value) =
            defines.iter().find(|(defined, _)| *defined == name).ok_or(format!("{name} has no value"))?;
        out.push_str(&rest[..start]);
        out.push_str(&value.to_string());
        rest = &after[1..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(name: &str) -> Option<&'static str> {
        Some(match name {
            "a" => {
                "#include \"b\"\n#if X\nx {N};\n#if !Y\nno y\n#else\ny\n#endif\n#else\nno x\n#endif\nfn f() {}"
            }
            "b" => "b{ N }",
            "loop" => "#include \"loop\"",
            "open" => "#if X",
            "odd" => "#define X",
            "value" => "{MISSING}",
            _ => return None,
        })
    }

    #[test]
    fn lines_are_included_chosen_and_replaced() {
        let of = |defines: &[Define]| preprocess("a", &load, defines).unwrap();
        assert_eq!(of(&[]), "b{ N }\nno x\nfn f() {}\n");
        assert_eq!(of(&[("X", 1), ("N", 7)]), "b{ N }\nx 7;\nno y\nfn f() {}\n");
        assert_eq!(of(&[("X", 1), ("N", 7), ("Y", 1)]), "b{ N }\nx 7;\ny\nfn f() {}\n");
    }

    #[test]
    fn mistakes_are_told() {
        for (file, part) in [
            ("none", "no such file"),
            ("loop", "include each other"),
            ("open", "without #endif"),
            ("odd", "odd:1: an unknown directive"),
            ("value", "value:1: MISSING"),
        ] {
            let error = preprocess(file, &load, &[]).unwrap_err();
            assert!(error.contains(part), "{file}: {error}");
        }
    }
}
