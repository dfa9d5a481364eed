//! The rules of the house that neither the compiler nor Clippy checks. Each failure says where and what to do.

mod edges;
mod guests;
mod promises;
mod source;

use source::{Source, functions, lines_with_word};

const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// Ends the test with everything that was found, or not.
fn nothing(rule: &str, found: Vec<String>) {
    assert!(found.is_empty(), "{rule}:\n  {}\n", found.join("\n  "));
}

#[test]
fn no_file_is_too_long() {
    let long = source::rust().filter_map(|source| {
        let lines = source.text.lines().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", source.path))
    });
    nothing(
        "split these by what they decide, at 600 lines at the latest",
        long.collect(),
    );
}

#[test]
fn no_function_is_too_long() {
    let mut long = Vec::new();
    for source in source::rust() {
        for function in functions(source.code()) {
            if function.code_lines > FUNCTION_LINES_MAX {
                let (name, line, lines) = (function.name, function.line, function.code_lines);
                long.push(format!("{}:{line}: {name} has {lines} lines", source.path));
            }
        }
    }
    nothing(
        "keep the decisions here and move the pure parts into functions of their own, at 70 lines",
        long,
    );
}

#[test]
fn no_module_is_a_drawer() {
    const DRAWERS: &[&str] = &["types", "utils", "util", "common", "helpers", "misc", "manager"];
    let mut drawers = Vec::new();
    for source in source::rust() {
        let path = source.path.trim_end_matches(".rs").trim_end_matches("/mod");
        if DRAWERS.contains(&path.rsplit('/').next().unwrap_or_default()) {
            drawers.push(source.path.clone());
        }
    }
    nothing("name a module by what it decides", drawers);
}

#[test]
fn nothing_is_left_for_later() {
    // In two parts, so that this file is clean itself.
    const MARKS: &[&str] = &[
        concat!("FIX", "ME"),
        concat!("TO", "DO"),
        concat!("XX", "X"),
        concat!("HA", "CK"),
    ];
    let mut left = Vec::new();
    for source in source::all() {
        for mark in MARKS {
            let lines = lines_with_word(&source.text, mark);
            left.extend(lines.map(|line| format!("{}:{line}: {mark}", source.path)));
        }
    }
    for source in source::rust() {
        let code = source.code();
        for (what, instead) in [
            ("dbg!", "an event"),
            ("todo!", "the code"),
            ("unimplemented!", "the code"),
        ] {
            let lines = code.lines().enumerate().filter(|(_, line)| line.contains(what));
            left.extend(
                lines.map(|(index, _)| format!("{}:{}: {what}, write {instead}", source.path, index + 1)),
            );
        }
    }
    nothing("finish it, or write it where work is planned", left);
}

#[test]
fn no_test_is_switched_off() {
    let mut off = Vec::new();
    for source in source::rust() {
        let (code, comments) = (source.code(), source.comments());
        for (index, line) in code.lines().enumerate() {
            if line.contains("#[ignore") {
                off.push(format!("{}:{}: ignored", source.path, index + 1));
            }
        }
        for (index, line) in comments.lines().enumerate() {
            let text = line.trim_start().trim_start_matches('/').trim_start();
            let is_doc = line.trim_start().starts_with("///") || line.trim_start().starts_with("//!");
            let code_in_comment = text.starts_with("#[test]") || text.starts_with("#[tokio::test");
            if code_in_comment && !is_doc {
                off.push(format!("{}:{}: in a comment", source.path, index + 1));
            }
        }
    }
    nothing("a test runs or is deleted", off);
}

#[test]
fn no_test_waits_for_time_to_pass() {
    let mut waits = Vec::new();
    // Polling pauses between two looks; it ends as soon as what it waits for is there.
    let polling = "tests/src/polling.rs";
    for source in source::rust().filter(|source| source.path != polling) {
        let code = source.code();
        let tests_from = if source.is_test() {
            0
        } else {
            code.lines()
                .position(|line| line.contains("#[cfg(test)]"))
                .unwrap_or(usize::MAX)
        };
        // Paused time passes by itself: no test waits for it.
        let paused = source.text.contains("start_paused = true");
        for (index, line) in code.lines().enumerate().skip(tests_from) {
            let sleeps = line.contains("thread::sleep") || (line.contains("time::sleep(") && !paused);
            if sleeps {
                waits.push(format!("{}:{}: {}", source.path, index + 1, line.trim()));
            }
        }
    }
    nothing(
        "wait for what must happen (a packet, a line of the log), not for a while",
        waits,
    );
}

#[test]
fn every_character_can_be_seen() {
    let invisible = |c: char| match c {
        '\n' => false,
        '\u{AD}' | '\u{A0}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' => true,
        '\u{2060}'..='\u{2069}' | '\u{FEFF}' => true,
        c => c.is_control(),
    };
    let mut found = Vec::new();
    for source in source::all() {
        for (index, line) in source.text.lines().enumerate() {
            if let Some(c) = line.chars().find(|c| invisible(*c)) {
                found.push(format!("{}:{}: U+{:04X}", source.path, index + 1, u32::from(c)));
            } else if line.ends_with(' ') {
                found.push(format!("{}:{}: a blank at the end", source.path, index + 1));
            }
        }
        if !source.text.is_empty() && !source.text.ends_with('\n') {
            found.push(format!("{}: no end of line at the end", source.path));
        }
    }
    nothing("write these as escapes, or not at all", found);
}

#[test]
fn every_lint_that_is_allowed_says_why() {
    let mut unexplained = Vec::new();
    for source in source::rust() {
        let code = source.code();
        let text: Vec<&str> = source.text.lines().collect();
        for (index, line) in code.lines().enumerate() {
            let attribute = line.trim_start();
            let allows = ["allow(", "expect("].iter().any(|word| {
                attribute.starts_with(&format!("#[{word}")) || attribute.starts_with(&format!("#![{word}"))
            });
            if allows && !is_explained(&text, index) {
                unexplained.push(format!("{}:{}: {attribute}", source.path, index + 1));
            }
        }
    }
    for source in source::all()
        .iter()
        .filter(|source| source.path.ends_with("Cargo.toml"))
    {
        let text: Vec<&str> = source.text.lines().collect();
        for (index, line) in text.iter().enumerate() {
            if line.contains("\"allow\"") && !is_explained(&text, index) {
                unexplained.push(format!("{}:{}: {line}", source.path, index + 1));
            }
        }
    }
    nothing("say why in `reason = \"...\"` or in a comment above", unexplained);
}

/// Whether the attribute that begins on line `index` carries a reason, or a comment on or above that line does.
fn is_explained(text: &[&str], index: usize) -> bool {
    let is_comment = |line: &&str| {
        let line = line.trim_start();
        (line.starts_with("//") && !line.starts_with("///"))
            || (line.starts_with('#') && !line.starts_with("#["))
    };
    let above = index.checked_sub(1).and_then(|above| text.get(above));
    let attribute = text.iter().skip(index).take(12);
    let mut open = true;
    let reason = attribute
        .take_while(|line| std::mem::replace(&mut open, !line.trim_end().ends_with(']')))
        .any(|line| line.contains("reason = ") || line.contains("// ") || line.contains(" # "));
    reason || above.is_some_and(is_comment)
}

#[test]
fn every_module_says_what_it_is() {
    let mut silent = Vec::new();
    for source in source::rust() {
        let first = source
            .text
            .lines()
            .find(|line| !line.trim().is_empty())
            .unwrap_or_default();
        let is_tests_of_its_parent = source.path.ends_with("/tests.rs");
        let first = if first.starts_with("#![doc = include_str!") {
            "//!"
        } else {
            first
        };
        if !first.starts_with("//!") && !is_tests_of_its_parent && !is_fuzz_target(source) {
            silent.push(source.path.clone());
        }
    }
    nothing("begin with `//!` and one sentence", silent);
}

/// `#![no_main]` may stand first there.
fn is_fuzz_target(source: &Source) -> bool {
    source.path.starts_with("fuzz/") && source.text.starts_with("#![no_main]")
}
