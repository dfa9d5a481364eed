//! Reads a TOML document key by key and collects every problem with its line.
//!
//! What serde would do stops at the first error; an operator wants them all.

use super::problem::{Lines, Problem};
use serde_json::Value;
use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is read, and what is wrong with it so far.
pub(super) struct Document<'a> {
    file: &'a Path,
    /// Offset of each line but the first.
    line_starts: Vec<usize>,
    problems: RefCell<Vec<Problem>>,
    /// Every key that was asked for, as a dotted path.
    asked: RefCell<Vec<String>>,
    lines: RefCell<Lines>,
}

/// One table of a document. Its keys are taken out as they are read; what is left at the end is unknown.
pub(super) struct Table<'d, 'a> {
    document: &'d Document<'a>,
    /// Dotted path, empty for the document itself.
    path: String,
    entries: DeTable<'a>,
    asked: Vec<&'static str>,
    line: Option<usize>,
}

/// Why a value is not taken: what is wrong, and the remedy.
pub(super) struct Wrong {
    pub(super) what: String,
    pub(super) remedy: String,
}

impl Wrong {
    pub(super) fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            remedy: remedy.into(),
        }
    }
}

pub(super) type Parsed<T> = Result<T, Wrong>;

impl<'a> Document<'a> {
    /// Reads the syntax; what cannot be understood is a problem, the rest is read on.
    pub(super) fn new(file: &'a Path, text: &'a str) -> (Self, DeTable<'a>) {
        let line_starts = text.match_indices('\n').map(|(at, _)| at + 1).collect();
        let document = Self {
            file,
            line_starts,
            problems: RefCell::default(),
            asked: RefCell::default(),
            lines: RefCell::default(),
        };
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            document.problem(
                error.span(),
                "",
                Wrong::new(error.message(), "see https://toml.io for the syntax"),
            );
        }
        (document, root.into_inner())
    }

    pub(super) fn root(&self, entries: DeTable<'a>) -> Table<'_, 'a> {
        Table {
            document: self,
            path: String::new(),
            entries,
            asked: Vec::new(),
            line: None,
        }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        let lines = self.lines.into_inner();
        for problem in &mut problems {
            problem.line = problem.line.or_else(|| lines.of(&problem.key));
        }
        problems.sort_by_key(|problem| problem.line);
        problems
    }

    /// Where what has been read so far stands.
    pub(super) fn lines(&self) -> Lines {
        self.lines.borrow().clone()
    }

    #[cfg(test)]
    pub(super) fn asked(&self) -> Vec<String> {
        self.asked.borrow().clone()
    }

    pub(super) fn make_problem(&self, line: Option<usize>, key: &str, wrong: Wrong) -> Problem {
        let (file, key) = (Some(self.file.to_owned()), key.to_owned());
        Problem {
            file,
            line,
            key,
            what: wrong.what,
            remedy: wrong.remedy,
        }
    }

    fn note_line(&self, key: &str, span: Range<usize>) {
        self.lines.borrow_mut().note(key, self.line_of(span.start));
    }

    fn line_of(&self, offset: usize) -> usize {
        1 + self.line_starts.partition_point(|start| *start <= offset)
    }

    fn problem(&self, span: Option<Range<usize>>, key: &str, wrong: Wrong) {
        let line = span.map(|span| self.line_of(span.start));
        self.problem_at(line, key, wrong);
    }

    fn problem_at(&self, line: Option<usize>, key: &str, wrong: Wrong) {
        self.problems
            .borrow_mut()
            .push(self.make_problem(line, key, wrong));
    }
}

impl<'d, 'a> Table<'d, 'a> {
    /// The dotted path of a key of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Reads one value. `None`: it is not there, or a problem was noted.
    pub(super) fn value<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&DeValue<'a>) -> Parsed<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        match parse(value.get_ref()) {
            Ok(parsed) => Some(parsed),
            Err(wrong) => {
                self.document
                    .problem(Some(value.span()), &self.path_of(key), wrong);
                None
            }
        }
    }

    /// Reads one value into its place; without a usable one the place keeps what it has.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        place: &mut T,
        parse: impl FnOnce(&DeValue<'a>) -> Parsed<T>,
    ) {
        if let Some(parsed) = self.value(key, parse) {
            *place = parsed;
        }
    }

    /// Reads one value that must be there.
    pub(super) fn required<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&DeValue<'a>) -> Parsed<T>,
    ) -> Option<T> {
        if !self.entries.contains_key(key) {
            self.problem(key, Wrong::new("is missing", "it must be set here"));
        }
        self.value(key, parse)
    }

    /// A table of this table. `None`: it is not there, or a problem was noted.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Table<'d, 'a>> {
        let value = self.take(key)?;
        self.sub(self.path_of(key), value)
    }

    /// All tables of `[[key]]`, with the line of each.
    pub(super) fn tables(&mut self, key: &'static str) -> Option<Vec<Table<'d, 'a>>> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            let remedy = format!("write [[{key}]], once for each");
            self.document.problem(
                Some(span),
                &self.path_of(key),
                Wrong::new("is not a list of tables", remedy),
            );
            return None;
        };
        let path = self.path_of(key);
        let sub = |(index, item)| self.sub(format!("{path}[{index}]"), item);
        Some(items.into_iter().enumerate().filter_map(sub).collect())
    }

    /// Every remaining entry as a table, with its name: `[policy.NAME]`.
    pub(super) fn named_tables(&mut self) -> Vec<(String, Table<'d, 'a>)> {
        let entries = std::mem::take(&mut self.entries);
        let named = |(name, value): (Spanned<_>, _)| {
            let name = String::from(name.into_inner());
            let table = self.sub(self.path_of(&name), value)?;
            Some((name, table))
        };
        entries.into_iter().filter_map(named).collect()
    }

    /// Notes a problem with a key of this table, or with the table itself when the key is empty.
    pub(super) fn problem(&self, key: &str, wrong: Wrong) {
        let path = if key.is_empty() {
            self.path.clone()
        } else {
            self.path_of(key)
        };
        self.document.problem_at(self.line, &path, wrong);
    }

    /// Whether something is wrong with a key of this table already.
    pub(super) fn has_problem(&self, key: &str) -> bool {
        let path = self.path_of(key);
        let problems = self.document.problems.borrow();
        problems.iter().any(|problem| problem.key == path)
    }

    /// Every key that nobody asked for is a problem.
    pub(super) fn finish(self) {
        let known = self.asked.join(", ");
        for (key, value) in &self.entries {
            let key_text: &str = key.get_ref();
            let remedy = match closest(key_text, &self.asked) {
                Some(near) => format!("did you mean `{near}`? Known keys here: {known}"),
                None => format!("known keys here: {known}"),
            };
            self.document.problem(
                Some(start_of(key, value)),
                &self.path_of(key_text),
                Wrong::new("unknown key", remedy),
            );
        }
    }

    fn take(&mut self, key: &'static str) -> Option<Spanned<DeValue<'a>>> {
        self.asked.push(key);
        let path = self.path_of(key);
        let (name, value) = self.entries.remove_entry(key).unzip();
        if let (Some(name), Some(value)) = (&name, &value) {
            self.document.note_line(&path, start_of(name, value));
        }
        self.document.asked.borrow_mut().push(path);
        value
    }

    fn sub(&self, path: String, value: Spanned<DeValue<'a>>) -> Option<Table<'d, 'a>> {
        let span = value.span();
        let line = Some(self.document.line_of(span.start));
        self.document.note_line(&path, span.clone());
        if let DeValue::Table(entries) = value.into_inner() {
            return Some(Table {
                document: self.document,
                path,
                entries,
                asked: Vec::new(),
                line,
            });
        }
        let remedy = format!("write [{path}]");
        self.document
            .problem(Some(span), &path, Wrong::new("is not a table", remedy));
        None
    }
}

/// Where an entry begins: with its key, unless that is written elsewhere.
fn start_of<'a, K>(key: &Spanned<K>, value: &Spanned<DeValue<'a>>) -> Range<usize> {
    if key.span().is_empty() {
        value.span()
    } else {
        key.span()
    }
}

/// A TOML value as JSON: dates become text.
pub(super) fn to_json(value: &DeValue<'_>) -> Parsed<Value> {
    Ok(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(integer) => {
            let number = i64::from_str_radix(integer.as_str(), integer.radix());
            Value::from(
                number.map_err(|_| Wrong::new(format!("{integer} is too large"), "64 bits are taken"))?,
            )
        }
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            Value::Number(
                number.ok_or_else(|| Wrong::new(format!("{float} is not finite"), "JSON has no such"))?,
            )
        }
        DeValue::Boolean(boolean) => Value::from(*boolean),
        DeValue::Datetime(date) => Value::from(date.to_string()),
        DeValue::Array(items) => Value::Array(
            items
                .iter()
                .map(|item| to_json(item.get_ref()))
                .collect::<Parsed<_>>()?,
        ),
        DeValue::Table(entries) => {
            let entry = |(key, value): (&Spanned<_>, &Spanned<_>)| {
                let key: &std::borrow::Cow<'_, str> = key.get_ref();
                Ok((key.to_string(), to_json(value.get_ref())?))
            };
            Value::Object(entries.iter().map(entry).collect::<Parsed<_>>()?)
        }
    })
}

/// The known key that was probably meant.
fn closest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let distances = known
        .iter()
        .map(|candidate| (edit_distance(key, candidate), *candidate));
    let (distance, candidate) = distances.min()?;
    let contains =
        candidate.len() > 3 && (key.contains(candidate) || candidate.contains(key)) && key.len() > 3;
    (distance <= 3.min(key.len() / 2) || contains).then_some(candidate)
}

/// Insertions, deletions and replacements from one word to the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.chars().take(64).enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        for (cell, b) in row.iter_mut().skip(1).zip(&to) {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = *cell;
            left = replaced.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = index + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_two_words_is_the_number_of_edits() {
        for (from, to, edits) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
        ] {
            assert_eq!(edit_distance(from, to), edits, "{from} {to}");
        }
    }

    #[test]
    fn a_misspelt_key_finds_the_one_that_was_meant() {
        let known = ["packet_bytes_max", "receive_max", "name"];
        assert_eq!(closest("recieve_max", &known), Some("receive_max"));
        assert_eq!(closest("packet_bytes", &known), Some("packet_bytes_max"));
        assert_eq!(closest("colour", &known), None);
    }
}
