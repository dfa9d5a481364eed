//! The repository's files, and Rust text taken apart far enough to judge it: code, comments, functions.

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

/// A text file of the repository.
pub struct Source {
    /// Relative to the repository, with `/`.
    pub path: String,
    pub text: String,
    code: OnceLock<String>,
}

/// What is not ours or not written by hand.
const SKIPPED_DIRS: &[&str] = &[
    "target",
    ".git",
    "node_modules",
    ".venv",
    "corpus",
    "artifacts",
    "coverage",
];
const TEXT_EXTENSIONS: &[&str] = &[
    "rs", "toml", "md", "wit", "py", "js", "mjs", "sh", "json", "yml", "yaml", "service",
];

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is in the workspace")
        .to_path_buf()
}

/// Every text file of the repository.
pub fn all() -> &'static [Source] {
    static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(read_all);
    &SOURCES
}

/// Every Rust file.
pub fn rust() -> impl Iterator<Item = &'static Source> {
    all().iter().filter(|source| source.path.ends_with(".rs"))
}

fn read_all() -> Vec<Source> {
    let root = root();
    let mut dirs = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(&dir).expect("a directory can be read") {
            let path = entry.expect("an entry can be read").path();
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default();
            // A linked directory is the same files again.
            if path.is_dir() && !path.is_symlink() {
                if !SKIPPED_DIRS.contains(&name) {
                    dirs.push(path);
                }
            } else if is_text(&path) {
                let relative = path.strip_prefix(&root).expect("below the root").to_owned();
                sources.push(Source {
                    path: relative.to_str().expect("paths are UTF-8").replace('\\', "/"),
                    text: std::fs::read_to_string(&path)
                        .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
                    code: OnceLock::new(),
                });
            }
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources
}

fn is_text(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    // The scripts of `.ci` have no extension.
    let script = path.starts_with(root().join(".ci"));
    path.is_file() && (script || extension.is_some_and(|extension| TEXT_EXTENSIONS.contains(&extension)))
}

impl Source {
    /// The text with comments and the contents of strings blanked; lines and columns stay.
    pub fn code(&self) -> &str {
        self.code.get_or_init(|| blank(&self.text, Keep::Code))
    }

    /// The text with all but comments blanked.
    pub fn comments(&self) -> String {
        blank(&self.text, Keep::Comments)
    }

    /// Whether this is a test as a whole.
    pub fn is_test(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        name == "tests.rs"
            || self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.contains("/testing/")
    }

    /// The name of the package directory's module this file belongs to, and how deep the file is in the crate:
    /// `broker/src/policy/wasm/load.rs` is (`policy`, 3).
    pub fn module_in(&self, src: &str) -> Option<(&str, usize)> {
        let inside = self.path.strip_prefix(src)?.strip_suffix(".rs")?;
        let inside = inside.strip_suffix("/mod").unwrap_or(inside);
        let depth = if matches!(inside, "lib" | "main") {
            0
        } else {
            inside.split('/').count()
        };
        Some((inside.split('/').next().unwrap_or_default(), depth))
    }
}

/// Where a word stands in code, by line number from 1.
pub fn lines_with_word<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.lines()
        .enumerate()
        .filter(move |(_, line)| has_word(line, word))
        .map(|(index, _)| index + 1)
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|text| text.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// A function and how many lines of its body hold code.
pub struct Function {
    pub name: String,
    pub line: usize,
    pub code_lines: usize,
}

/// The functions in blanked code, nested ones too. Lines without code do not count, as in Clippy.
pub fn functions(code: &str) -> Vec<Function> {
    let mut found = Vec::new();
    let lines: Vec<&str> = code.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        if let Some(code_lines) = body_lines(&lines, index, line.find("fn ").unwrap_or_default()) {
            found.push(Function {
                name: name.to_owned(),
                line: index + 1,
                code_lines,
            });
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let at = if line.starts_with("fn ") {
        0
    } else {
        line.find(" fn ")? + 1
    };
    let rest = line.get(at + 3..)?;
    rest.split(|c: char| !(c.is_alphanumeric() || c == '_'))
        .next()
        .filter(|name| !name.is_empty())
}

/// The lines between the braces of the function that begins there; `None`: it has no body.
fn body_lines(lines: &[&str], first: usize, column: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut brackets = 0i32;
    let mut opened_on = None;
    for (index, line) in lines.iter().enumerate().skip(first) {
        let skipped = if index == first { column } else { 0 };
        for c in line.chars().skip(skipped) {
            match c {
                '{' => {
                    depth += 1;
                    opened_on.get_or_insert(index);
                }
                '}' => depth = depth.saturating_sub(1),
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                ';' if opened_on.is_none() && brackets == 0 => return None,
                _ => {}
            }
            if depth == 0 && c == '}' {
                let body = lines.get(opened_on? + 1..index).unwrap_or_default();
                return Some(body.iter().filter(|line| !line.trim().is_empty()).count());
            }
        }
    }
    None
}

#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Code,
    Comments,
}

/// Blanks what is not to be kept. Knows nested comments, raw strings, and lifetimes from characters.
fn blank(text: &str, keep: Keep) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let (length, comment) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), true)
        } else if rest.starts_with("/*") {
            (block_comment_length(rest), true)
        } else if let Some(length) = literal_length(rest, out.chars().next_back()) {
            (length, false)
        } else {
            out.push(if keep == Keep::Code || c == '\n' { c } else { ' ' });
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            continue;
        };
        let (taken, after) = rest.split_at(length);
        if comment && keep == Keep::Comments {
            out.push_str(taken);
        } else {
            out.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            // A string is code, even though what it says is not looked at.
            if !comment && keep == Keep::Code {
                out.pop();
                out.push('"');
            }
        }
        rest = after;
    }
    out
}

fn block_comment_length(text: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < text.len() {
        let here = text.get(at..).unwrap_or_default();
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The length of the string or character literal that `text` begins with.
fn literal_length(text: &str, before: Option<char>) -> Option<usize> {
    let within_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let after = text.strip_prefix(prefix).unwrap_or_default();
        after.starts_with('"') || (prefix.ends_with('r') && raw_hashes(after).is_some())
    });
    if let Some(prefix) = prefix.filter(|prefix| prefix.is_empty() || !within_word) {
        let body = text.get(prefix.len()..)?;
        if prefix.ends_with('r') {
            let end = format!("\"{}", "#".repeat(raw_hashes(body)?));
            let open = prefix.len() + end.len();
            let close = text.get(open..)?.find(&end)?;
            return Some(open + close + end.len());
        }
        return Some(prefix.len() + quoted_length(body, '"')?);
    }
    // 'a' and '\n' are characters, 'a is a lifetime.
    let mut chars = text.strip_prefix('\'')?.chars();
    let first = chars.next()?;
    (first == '\\' || chars.next() == Some('\'')).then(|| quoted_length(text, '\''))?
}

/// How many `#` stand before the quote of a raw string.
fn raw_hashes(text: &str) -> Option<usize> {
    let after = text.trim_start_matches('#');
    after.starts_with('"').then(|| text.len() - after.len())
}

fn quoted_length(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

#[test]
fn strings_and_comments_are_told_from_code() {
    let text = r##"let a = "{ // \" "; // }
fn x<'a>(c: &'a str) { if c == '{' { /* } /* } */ */ } let r = r#"{"#; }
"##;
    let code = blank(text, Keep::Code);
    assert!(!code.contains("//"), "{code}");
    assert_eq!(code.matches('{').count(), 2, "{code}");
    assert_eq!(code.matches('}').count(), 2, "{code}");
    assert!(code.contains("<'a>"), "{code}");
    let comments = blank(text, Keep::Comments);
    assert!(
        comments.contains("// }") && comments.contains("/* } /* } */ */"),
        "{comments}"
    );
    assert!(!comments.contains("let"), "{comments}");
}

#[test]
fn a_function_is_as_long_as_its_code() {
    let code =
        "trait T { fn no_body(&self, a: [u8; 2]); }\nfn f(\n    a: u8,\n) -> u8 {\n    a;\n\n    a\n}\n";
    let found = functions(code);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), found[0].line, found[0].code_lines),
        ("f", 2, 2)
    );
}
