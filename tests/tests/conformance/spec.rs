//! Holds the suite to the specification: every statement is covered by a test that exists, or excepted with a reason.

use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What one of the lists says of a statement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    covered: BTreeSet<String>,
    except: Option<String>,
}

/// One of the lists: its file, how statements of it are marked above the tests, how many there are.
struct List {
    file: &'static str,
    mark: &'static str,
    statements: usize,
    /// What an id in the file has that a mark leaves out.
    prefix: &'static str,
}

const LISTS: [List; 3] = [
    List {
        file: "v311.toml",
        mark: "v311",
        statements: 142,
        prefix: "MQTT-",
    },
    List {
        file: "v5.toml",
        mark: "v5",
        statements: 251,
        prefix: "MQTT-",
    },
    List {
        file: "traps.toml",
        mark: "traps",
        statements: 59,
        prefix: "",
    },
];

fn tests_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl List {
    fn entries(&self) -> BTreeMap<String, Entry> {
        let path = tests_dir().join("../spec").join(self.file);
        // A key that stands there twice is an error of the format itself.
        toml::from_str(&read(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// Every test of this suite, and per list and statement the tests that are marked with it.
#[derive(Default)]
struct Suite {
    tests: BTreeSet<String>,
    marked: BTreeMap<(&'static str, String), BTreeSet<String>>,
}

impl Suite {
    fn scan() -> Self {
        let mut suite = Self::default();
        let dir = tests_dir().join("conformance");
        for entry in std::fs::read_dir(&dir).expect("the suite has a directory") {
            let path = entry.expect("it can be read").path();
            let module = path
                .file_stem()
                .and_then(|stem| stem.to_str())
                .expect("a module")
                .to_owned();
            suite.scan_module(&module, &read(&path));
        }
        suite
    }

    fn scan_module(&mut self, module: &str, source: &str) {
        let mut marks: Vec<&str> = Vec::new();
        let mut lines = source.lines().map(str::trim);
        while let Some(line) = lines.next() {
            if let Some(comment) = line.strip_prefix("// ") {
                marks.push(comment);
            } else if line == "#[test]" {
                let function = lines
                    .by_ref()
                    .find_map(|line| line.strip_prefix("fn "))
                    .expect("a test is a function");
                let name = function.split('(').next().expect("it has a name");
                self.add(format!("{module}::{name}"), &marks);
                marks.clear();
            } else {
                marks.clear();
            }
        }
    }

    fn add(&mut self, test: String, marks: &[&str]) {
        for list in &LISTS {
            for part in marks.iter().flat_map(|mark| mark.split(']')) {
                let Some(ids) = part
                    .trim()
                    .strip_prefix(list.mark)
                    .and_then(|rest| rest.strip_prefix('['))
                else {
                    continue;
                };
                for id in ids.split_whitespace() {
                    let id = format!("{}{id}", list.prefix);
                    self.marked
                        .entry((list.file, id))
                        .or_default()
                        .insert(test.clone());
                }
            }
        }
        self.tests.insert(test);
    }
}

#[test]
fn every_statement_is_covered_by_a_test_or_excepted_with_a_reason() {
    for list in &LISTS {
        let entries = list.entries();
        assert_eq!(entries.len(), list.statements, "{}: statements", list.file);
        for (id, entry) in &entries {
            match &entry.except {
                None => assert!(
                    !entry.covered.is_empty(),
                    "{} {id}: neither covered nor excepted",
                    list.file
                ),
                Some(reason) => {
                    assert!(
                        !reason.trim().is_empty(),
                        "{} {id}: excepted without a reason",
                        list.file
                    );
                    assert!(
                        entry.covered.is_empty(),
                        "{} {id}: covered and excepted",
                        list.file
                    );
                }
            }
        }
    }
}

#[test]
fn the_lists_name_the_tests_that_are_marked_with_the_statement() {
    let suite = Suite::scan();
    for list in &LISTS {
        let entries = list.entries();
        for (id, entry) in &entries {
            let unknown: Vec<_> = entry.covered.difference(&suite.tests).collect();
            assert!(
                unknown.is_empty(),
                "{} {id}: there are no tests {unknown:?}",
                list.file
            );
            let marked = suite
                .marked
                .get(&(list.file, id.clone()))
                .cloned()
                .unwrap_or_default();
            let excepted = entry.except.is_some();
            assert!(
                excepted || marked == entry.covered,
                "{} {id}: covered by {:?}, but the tests marked with it are {marked:?}",
                list.file,
                entry.covered
            );
        }
        for (file, id) in suite.marked.keys() {
            assert!(
                *file != list.file || entries.contains_key(id),
                "a test is marked with {id}, unknown in {file}"
            );
        }
    }
}
