//! `sluice policy new NAME`: a crate to begin a policy with, which builds and whose tests pass.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The files of a new policy; `{{…}}` is filled in.
const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("scaffold/Cargo.toml.template")),
    ("src/lib.rs", include_str!("scaffold/lib.rs.template")),
    ("README.md", include_str!("scaffold/README.md.template")),
    (".gitignore", include_str!("scaffold/gitignore.template")),
];

/// Names that cargo or rustc would refuse, or that the policy's own dependencies have.
const NAMES_TAKEN: [&str; 47] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "serde",
    "serde_json",
    "sluice_policy",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
];

/// Longest name of a policy.
const NAME_BYTES_MAX: usize = 64;

/// Makes the directory `into/name` with a policy in it, and returns its path. The policy depends on the SDK at `sdk`;
/// without it, on the one this broker was built with, if that is still there, else on the published one.
///
/// # Errors
/// When the name cannot be a crate's, the directory exists, or a file cannot be written.
pub fn scaffold(name: &str, into: &Path, sdk: Option<&Path>) -> Result<PathBuf, ScaffoldError> {
    check_name(name)?;
    let dependency = dependency(sdk)?;
    let root = into.join(name);
    let failed = |path: &Path, source| ScaffoldError::Io {
        path: path.to_owned(),
        source,
    };
    fs::create_dir_all(into).map_err(|source| failed(into, source))?;
    fs::create_dir(&root).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => ScaffoldError::Exists(root.clone()),
        _ => failed(&root, source),
    })?;
    let src = root.join("src");
    fs::create_dir(&src).map_err(|source| failed(&src, source))?;
    for (file, template) in FILES {
        let text = template
            .replace("{{name}}", name)
            .replace("{{file}}", &name.replace('-', "_"))
            .replace("{{sdk}}", &dependency);
        let path = root.join(file);
        fs::write(&path, text).map_err(|source| failed(&path, source))?;
    }
    Ok(root)
}

/// Why no policy was made.
#[derive(Debug)]
pub enum ScaffoldError {
    /// The name cannot be a crate's.
    Name {
        /// The name.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// There is something in the way.
    Exists(PathBuf),
    /// A file could not be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl fmt::Display for ScaffoldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { name, why } => write!(
                formatter,
                "`{}` cannot be a policy's name: {why}",
                name.escape_debug()
            ),
            Self::Exists(path) => write!(formatter, "{} exists already", path.display()),
            Self::Io { path, source } => write!(formatter, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for ScaffoldError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

fn check_name(name: &str) -> Result<(), ScaffoldError> {
    let why = if !name.starts_with(|first: char| first.is_ascii_lowercase()) {
        "it must begin with a lower-case letter"
    } else if !name
        .chars()
        .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
    {
        "it may contain lower-case letters, digits, `-` and `_` only"
    } else if name.len() > NAME_BYTES_MAX {
        "it is longer than 64 bytes"
    } else if NAMES_TAKEN.contains(&name.replace('-', "_").as_str()) {
        "it means something else to Rust or to the policy's dependencies"
    } else {
        return Ok(());
    };
    Err(ScaffoldError::Name {
        name: name.to_owned(),
        why,
    })
}

/// The SDK as a dependency in TOML.
fn dependency(sdk: Option<&Path>) -> Result<String, ScaffoldError> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policy-sdk");
    let path = match sdk {
        Some(path) => path,
        None if beside.join("Cargo.toml").is_file() => beside.as_path(),
        None => return Ok(format!("{:?}", env!("CARGO_PKG_VERSION"))),
    };
    let absolute = path.canonicalize().map_err(|source| ScaffoldError::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(format!(
        "{{ path = {} }}",
        toml::Value::from(absolute.to_string_lossy().into_owned())
    ))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_new_policy_builds_and_its_tests_pass() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let directory = tempfile::tempdir().unwrap();
        let policy = scaffold("first-gate", directory.path(), None).unwrap();
        // The versions this workspace is tested with.
        fs::copy(root.join("Cargo.lock"), policy.join("Cargo.lock")).unwrap();
        let cargo = |arguments: &[&str]| {
            let status = Command::new(env!("CARGO"))
                .args(arguments)
                .arg("--quiet")
                // Kept from run to run: the dependencies take a while.
                .arg("--target-dir")
                .arg(root.join("target/scaffold"))
                .current_dir(&policy)
                .status()
                .unwrap();
            assert!(status.success(), "cargo {}", arguments.join(" "));
        };
        cargo(&["test"]);
        cargo(&["build", "--release", "--target", "wasm32-unknown-unknown"]);
        let wasm = root.join("target/scaffold/wasm32-unknown-unknown/release/first_gate.wasm");
        assert!(wasm.is_file());
    }

    #[test]
    fn nothing_is_written_over() {
        let directory = tempfile::tempdir().unwrap();
        let first = scaffold("gate", directory.path(), None).unwrap();
        let again = scaffold("gate", directory.path(), None);
        assert!(matches!(again, Err(ScaffoldError::Exists(path)) if path == first));
    }

    #[test]
    fn a_name_that_cannot_be_a_crates_is_refused_before_anything_is_written() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "",
            "Gate",
            "1st",
            "a b",
            "../up",
            "a/b",
            "a\"b",
            "impl",
            "sluice-policy",
            &"a".repeat(65),
        ] {
            let refused = scaffold(name, directory.path(), None);
            assert!(matches!(refused, Err(ScaffoldError::Name { .. })), "{name}");
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn an_sdk_that_is_not_there_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let refused = scaffold("gate", directory.path(), Some(Path::new("/does/not/exist")));
        assert!(matches!(refused, Err(ScaffoldError::Io { .. })));
    }
}
