//! Man pages and completion, which are generated from `--help`.

use std::fs;
use std::process::Command;
use tests::{Folder, program, tools};

/// Runs `broker/deploy/manuals` for all programs.
fn manuals() -> Folder {
    let folder = Folder::temporary("manuals");
    let mut command = Command::new(program::workspace().join("broker/deploy/manuals"));
    command.arg(folder.path());
    for name in ["broker", "publisher", "subscriber"] {
        command.arg(program::command(name).get_program());
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    folder
}

#[test]
fn a_man_page_says_all_that_the_help_says() {
    let folder = manuals();
    for name in ["broker", "publisher", "subscriber"] {
        let help = program::command(name).arg("--help").output().unwrap();
        let help = String::from_utf8(help.stdout).unwrap();
        let page = fs::read_to_string(folder.path().join(format!("man1/{name}.1"))).unwrap();
        let plain = page.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\");
        for line in help.lines().skip(1).filter(|line| line.starts_with("  ")) {
            assert!(plain.contains(line.trim()), "{name}: {line}");
        }
        let Some(mut mandoc) = tools::mandoc() else { continue };
        let file = folder.path().join(format!("man1/{name}.1"));
        let output = mandoc.args(["-T", "lint", "-W", "error"]).arg(file).output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
    }
}

#[test]
fn completion_knows_the_verbs_and_the_flags() {
    let folder = manuals();
    let complete = |name: &str, words: &str| {
        let script = format!(
            ". {}; COMP_WORDS=({name} {words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _{name}_completion; echo \"${{COMPREPLY[*]}}\"",
            folder.path().join("completions").join(name).display()
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete("broker", "to"), "topics\n");
    assert_eq!(complete("broker", "--up"), "--upstream\n");
    assert_eq!(complete("broker", "--vers"), "--version\n");
    assert_eq!(complete("broker", "--port x"), "\n", "a value is not completed");
    assert_eq!(complete("publisher", "--ev"), "--every\n");
    assert_eq!(complete("subscriber", "--co"), "--count\n");
}
