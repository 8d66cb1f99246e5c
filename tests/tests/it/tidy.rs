//! Rules for every file, checked here and not by reviewers.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use tests::program;

/// What may stand at the top of the workspace, beside files whose names begin with a dot.
const TOP_LEVEL: [&str; 9] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "broker",
    "common",
    "publisher",
    "subscriber",
    "tests",
];

const COLUMNS_MAX: usize = 100;

/// The files of the workspace that somebody wrote, as paths below its root.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    collect(program::workspace(), &mut files);
    assert!(files.len() > 20, "the workspace was not found");
    files.sort();
    files
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path.strip_prefix(program::workspace()).unwrap().to_owned());
        }
    }
}

pub(crate) fn files_with(extension: &str) -> impl Iterator<Item = (PathBuf, String)> {
    let extension = extension.to_owned();
    files()
        .into_iter()
        .filter(move |path| path.extension() == Some(OsStr::new(&extension)))
        .map(|path| (path.clone(), read(&path)))
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(program::workspace().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Fails with all that was found, one line each.
#[track_caller]
pub(crate) fn assert_none(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let found: Vec<_> = files_with("rs")
        .filter(|(_, text)| !text.starts_with("//! ") || text.starts_with("//! Placeholder"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_none(&found, "begin with a `//!` line that says what the module is for");
}

#[test]
fn lines_stay_within_a_hundred_columns() {
    let mut found = Vec::new();
    for (path, text) in files_with("rs").chain(files_with("py")).chain(files_with("toml")) {
        for (number, line) in (1..).zip(text.lines()) {
            // A string is not broken for the sake of a rule.
            if line.chars().count() > COLUMNS_MAX && !line.contains('"') {
                found.push(format!("{}:{number}", path.display()));
            }
        }
    }
    assert_none(&found, "keep lines within 100 columns");
}

#[test]
fn nothing_is_left_to_be_done() {
    // Put together here, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("dbg", "!("),
        concat!("todo", "!("),
        concat!("unimplemented", "!("),
        concat!("unsafe", " {"),
        concat!("#[", "ignore"),
        concat!("#[", "allow("),
    ];
    let mut found = Vec::new();
    for (path, text) in files_with("rs").chain(files_with("py")).chain(files_with("md")) {
        for (number, line) in (1..).zip(text.lines()) {
            for word in words.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{number}: {word}", path.display()));
            }
        }
    }
    assert_none(&found, "finish it, or leave it out");
}

#[test]
fn every_crate_root_forbids_unsafe_code() {
    let is_root = |path: &Path| {
        let parent = path.parent().and_then(Path::file_name).and_then(OsStr::to_str);
        let name = path.file_name().and_then(OsStr::to_str);
        matches!((parent, name), (Some("src"), Some("lib.rs")) | (_, Some("main.rs")))
            || matches!(parent, Some("bin" | "benches" | "examples"))
    };
    let mut roots = 0;
    let mut found = Vec::new();
    for (path, text) in files_with("rs").filter(|(path, _)| is_root(path)) {
        roots += 1;
        if !text.lines().any(|line| line == "#![forbid(unsafe_code)]") {
            found.push(path.display().to_string());
        }
    }
    assert!(roots >= 8, "only {roots} roots were found");
    assert_none(&found, "forbid unsafe code in every crate root");
}

#[test]
fn no_manifest_depends_on_anything_outside() {
    let mut found = Vec::new();
    for (path, text) in files_with("toml") {
        let mut is_dependencies = false;
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(section) = line.strip_prefix('[') {
                let section = section.trim_matches(['[', ']']);
                is_dependencies = section.split('.').any(|part| part.ends_with("dependencies"));
                let names_one = is_dependencies && !section.ends_with("dependencies");
                if names_one || section.starts_with("patch") || section.starts_with("replace") {
                    found.push(format!("{}:{number}: {line}", path.display()));
                }
            } else if is_dependencies && !line.is_empty() && !is_of_the_workspace(line) {
                found.push(format!("{}:{number}: {line}", path.display()));
            }
        }
    }
    assert_none(&found, "depend on crates of this workspace only");
}

/// Whether a line is `name = { path = "../name" }`, and nothing more.
fn is_of_the_workspace(line: &str) -> bool {
    let Some((name, value)) = line.split_once(" = ") else { return false };
    TOP_LEVEL.contains(&name) && value == format!("{{ path = \"../{name}\" }}")
}

#[test]
fn the_lock_file_lists_nothing_from_outside() {
    let lock = read("Cargo.lock");
    let names: Vec<_> =
        lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    assert_eq!(names, ["broker", "common", "publisher", "subscriber", "tests"]);
    assert!(!lock.contains("source ="), "a package comes from elsewhere");
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let found: Vec<_> = files_with("toml")
        .filter(|(path, _)| path != Path::new("Cargo.toml"))
        .filter(|(_, text)| !text.contains("[lints]\nworkspace = true\n"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_none(&found, "take the lints of the workspace");
}

#[test]
fn the_top_level_holds_what_it_has_to_and_no_more() {
    let found: Vec<_> = fs::read_dir(program::workspace())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.') && name != "target")
        .filter(|name| !TOP_LEVEL.contains(&name.as_str()))
        .collect();
    assert_none(&found, "put it into the folder that it describes");
}

#[test]
fn text_ends_with_a_newline_and_no_line_with_a_space() {
    let mut found = Vec::new();
    for extension in ["rs", "toml", "md", "py"] {
        for (path, text) in files_with(extension) {
            if !text.ends_with('\n') || text.ends_with("\n\n") {
                found.push(format!("{}: its end", path.display()));
            }
            for (number, line) in (1..).zip(text.lines()) {
                if line.ends_with([' ', '\t', '\r']) {
                    found.push(format!("{}:{number}", path.display()));
                }
            }
        }
    }
    assert_none(&found, "one newline at the end, no space before any");
}

#[test]
fn documents_point_at_what_is_there() {
    let mut found = Vec::new();
    for (path, text) in files_with("md") {
        let folder = path.parent().unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() { path.clone() } else { folder.join(target) };
            if link.starts_with("https://") || link.starts_with("http://") {
                continue;
            }
            let there = program::workspace().join(&target);
            let heading = |line: &str| line.starts_with('#') && slug(line) == anchor;
            if !there.exists() || !anchor.is_empty() && !read(&target).lines().any(heading) {
                found.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert_none(&found, "mend the link");
}

/// The name by which a heading is linked to.
fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words.chars().filter(|&char| char.is_alphanumeric() || " -_".contains(char));
    kept.map(|char| if char == ' ' { '-' } else { char }).collect()
}

#[test]
fn every_test_that_a_document_names_is_there() {
    let sources: String = files_with("rs").map(|(_, text)| text).collect();
    let mut found = Vec::new();
    let mut named = 0;
    for (path, text) in files_with("md") {
        // A test's name is a sentence: no other word in code has so many parts.
        for name in text.split('`').filter(|name| name.matches('_').count() >= 5) {
            if name
                .chars()
                .all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_')
            {
                named += 1;
                if !sources.contains(&format!("fn {name}()")) {
                    found.push(format!("{}: {name}", path.display()));
                }
            }
        }
    }
    assert!(named >= 8, "only {named} names were found");
    assert_none(&found, "name a test that is there");
}
