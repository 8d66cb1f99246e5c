//! The structure of the product: its size, which room uses which, and its words.
//!
//! Only the code of the programs is checked, without their unit tests.

use crate::tidy::{assert_none, files_with, read};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// How many lines of code the programs may have, comments and blank lines aside.
///
/// The first figure is the program of the first release, the others are what was added to it on
/// purpose. A change that needs more says here what it is worth.
const PRODUCT_LINES: [(&str, usize); 7] = [
    ("topics, doors, clients and brokers that work together", 12_612),
    ("ordinary tools, and neighbours that mean no good", 1_300),
    ("what could still be lost or moved, and lasting subscriptions that are looked after", 1_000),
    ("retention, and a journal of segments that cleans itself", 3_105),
    ("patterns, rights, and topics by name", 2_000),
    ("the first two minutes, the page, the package", 850),
    ("mirrors as windows, and topics that NATS keeps", 4_006),
];

/// Words that were given up, and what is said for each.
const GIVEN_UP: [(&str, &str); 18] = [
    ("struct Arrivals", "input budget"),
    ("struct Ledger", "admission"),
    ("struct Facts", "topic state"),
    ("struct Numbers", "sequences"),
    ("struct Scribe", "journal writer"),
    ("struct Wishes", "desired topics"),
    ("struct Bell", "waiter"),
    ("struct Crew", "queue, or state"),
    ("struct PlaceChange", "position change"),
    ("struct Wires", "connection pool"),
    ("desk", "commands, or session"),
    ("seat", "connection"),
    ("guest", "client"),
    ("crew", "threads"),
    ("ticket", "permit"),
    ("made anew", "deleted and created again"),
    ("durable subscription", "lasting subscription"),
    ("durable subscriptions", "lasting subscriptions"),
];

/// A source file of a program, without its unit tests: its path below the workspace, and its text.
fn product(crates: &[&str]) -> Vec<(String, String)> {
    let is_test = |path: &str| {
        path.contains("/tests") || path.ends_with("tests.rs") || path.ends_with("fixture.rs")
    };
    let files = files_with("rs").filter_map(|(path, text)| {
        let path = path.to_str()?.to_owned();
        let of_a_program = crates.iter().any(|name| path.starts_with(&format!("{name}/src/")));
        (of_a_program && !is_test(&path)).then(|| (path, without_tests(&text)))
    });
    files.collect()
}

/// A text up to its first module of unit tests.
fn without_tests(text: &str) -> String {
    let mut kept = Vec::new();
    for line in text.lines() {
        if line.starts_with("mod ") && kept.last() == Some(&"#[cfg(test)]") && line.contains('{') {
            kept.pop();
            break;
        }
        kept.push(line);
    }
    kept.join("\n")
}

fn is_code(line: &&str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with("//")
}

#[test]
fn the_programs_stay_as_small_as_they_are_meant_to_be() {
    let files = product(&["broker", "common", "publisher", "subscriber"]);
    let lines: usize = files.iter().map(|(_, text)| text.lines().filter(is_code).count()).sum();
    let allowed: usize = PRODUCT_LINES.iter().map(|(_, lines)| lines).sum();
    assert!(lines > 10_000, "only {lines} lines were found");
    assert!(lines <= allowed, "{lines} lines of code, and {allowed} are allowed: delete some");
}

/// Files of the broker, each with those that it uses.
type Uses = BTreeMap<String, BTreeSet<String>>;

fn uses() -> Uses {
    let files: Vec<_> = product(&["broker"])
        .into_iter()
        .filter_map(|(path, text)| Some((path.strip_prefix("broker/src/")?.to_owned(), text)))
        .collect();
    let modules: BTreeMap<String, String> =
        files.iter().map(|(path, _)| (module(path), path.clone())).collect();
    let used_by = |path: &str, text: &str| {
        let mut used: BTreeSet<_> =
            paths(path, text).iter().filter_map(|path| file_of(path, &modules)).collect();
        used.remove(path);
        used
    };
    files.iter().map(|(path, text)| (path.clone(), used_by(path, text))).collect()
}

/// The module that a file is: `store/journal/mod.rs` is `store/journal`.
fn module(path: &str) -> String {
    let path = path.strip_suffix(".rs").unwrap_or(path);
    path.strip_suffix("/mod").unwrap_or(path).to_owned()
}

/// The file that holds what a path names: the longest beginning that is a module.
fn file_of(path: &str, modules: &BTreeMap<String, String>) -> Option<String> {
    let mut path = path;
    loop {
        if let Some(file) = modules.get(path) {
            return Some(file.clone());
        }
        path = path.rsplit_once('/')?.0;
    }
}

/// What the code of a file names in this crate, each as `a/b/c` from its root.
fn paths(file: &str, text: &str) -> Vec<String> {
    let code: Vec<_> = text.lines().filter(is_code).collect();
    let code = code.join("\n");
    let own = module(file);
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        expand("", code.get(at + 7..).unwrap_or_default(), &mut found);
    }
    for (at, _) in code.match_indices("super::") {
        // Of `super::super::` the last one names the item, and each goes up one module.
        let before = code.get(..at).unwrap_or_default();
        let levels = 1 + before.rsplit("super::").take_while(|part| part.is_empty()).count();
        let above = own.rsplitn(levels + 1, '/').nth(levels).unwrap_or_default();
        let rest = code.get(at + 7..).unwrap_or_default();
        if !rest.starts_with("super::") {
            expand(&format!("{above}/"), rest, &mut found);
        }
    }
    found
}

/// Adds what a path or a tree of paths in braces names, behind what came before it.
fn expand(before: &str, text: &str, found: &mut Vec<String>) {
    let end = text.find(|it: char| !it.is_alphanumeric() && it != '_' && it != ':');
    let (path, rest) = text.split_at(end.unwrap_or(text.len()));
    let path = format!("{before}{}", path.replace("::", "/"));
    let Some(tree) = rest.strip_prefix('{').filter(|_| path.is_empty() || path.ends_with('/'))
    else {
        found.push(path.trim_matches('/').to_owned());
        return;
    };
    let mut depth = 0;
    let mut begin = 0;
    for (at, char) in tree.char_indices() {
        match char {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                expand(&path, tree.get(begin..at).unwrap_or_default().trim_start(), found);
                begin = at + 1;
                if char == '}' {
                    return;
                }
            }
            _ => {}
        }
    }
}

/// All files that one uses, and that those use.
fn reached<'a>(file: &'a str, uses: &'a Uses) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open = vec![file];
    while let Some(file) = open.pop() {
        for next in uses.get(file).into_iter().flatten() {
            if found.insert(next.as_str()) {
                open.push(next);
            }
        }
    }
    found
}

/// The folder below `src` that a file is in, or its own name where it lies in `src`. So `access.rs`
/// and `access/` are one room.
fn room(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap_or(file)
}

#[test]
fn no_files_of_the_broker_use_each_other_in_a_circle_outside_of_a_folder() {
    let uses = uses();
    assert!(uses.len() > 40, "only {} files were found", uses.len());
    let mut found = Vec::new();
    for file in uses.keys() {
        for other in reached(file, &uses) {
            if room(file) < room(other) && reached(other, &uses).contains(file.as_str()) {
                found.push(format!("{file} and {other}"));
            }
        }
    }
    assert_none(&found, "let one of them not need the other");
}

#[test]
fn the_diagram_of_rooms_is_what_the_code_uses() {
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let uses = uses();
    for (file, others) in &uses {
        let others = others.iter().map(|other| room(other)).filter(|other| *other != room(file));
        used.entry(room(file)).or_default().extend(others);
    }
    let line = |(room, others): (&str, BTreeSet<&str>)| {
        let others: Vec<_> = others.into_iter().collect();
        format!("{room:<8} {}", others.join(" ")).trim_end().to_owned()
    };
    let is_shown = |room: &str| !["lib", "main"].contains(&room);
    let lines: BTreeSet<_> =
        used.into_iter().filter(|(room, _)| is_shown(room)).map(line).collect();
    let document = read(Path::new("broker/ARCHITECTURE.md"));
    let (_, diagram) = document.split_once("```rooms\n").expect("the diagram is there");
    let (diagram, _) = diagram.split_once("\n```").expect("the diagram ends");
    let drawn: BTreeSet<_> = diagram.lines().map(str::to_owned).collect();
    let missing = lines.difference(&drawn).map(|line| format!("write: {line}"));
    let wrong = drawn.difference(&lines).map(|line| format!("not:   {line}"));
    assert_none(&missing.chain(wrong).collect::<Vec<_>>(), "mend the diagram, or the code");
}

#[test]
fn a_path_in_a_use_line_leads_to_its_file() {
    let text =
        "use crate::store::{self, entry::Entry, journal::{Frame, record}};\nuse super::super::x;";
    let found = paths("door/http/route.rs", text);
    let expected = [
        "store/self",
        "store/entry/Entry",
        "store/journal/Frame",
        "store/journal/record",
        "door/x",
    ];
    assert_eq!(found, expected);
}

#[test]
fn words_that_were_given_up_are_not_used() {
    let mut found = Vec::new();
    let texts = ["rs", "md", "py", "html"].into_iter().flat_map(files_with);
    for (path, text) in texts.filter(|(path, _)| !path.ends_with("structure.rs")) {
        for (number, line) in (1..).zip(text.lines()) {
            for (word, instead) in GIVEN_UP {
                if holds_word(line, word) {
                    found.push(format!("{}:{number}: {word}: say {instead}", path.display()));
                }
            }
        }
    }
    assert_none(&found, "use the word of the glossary in broker/ARCHITECTURE.md");
}

/// Whether a word stands in a line by itself.
fn holds_word(line: &str, word: &str) -> bool {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line.get(..at).and_then(|before| before.chars().next_back());
        let after = line.get(at + word.len()..).and_then(|after| after.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}
