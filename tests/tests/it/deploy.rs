//! The guide to running the broker says what the broker does.

use std::fs;
use tests::program;

/// Flags of other programs that stand in the same files.
const OTHERS: [&str; 6] = ["--bin", "--help", "--init", "--install", "--now", "--release"];

#[test]
fn every_flag_that_is_named_for_the_broker_is_one() {
    let help = program::command("broker").arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let mut found = 0;
    for file in ["broker.service", "nginx.conf", "README.md"] {
        let path = program::workspace().join("broker/deploy").join(file);
        let text = fs::read_to_string(path).unwrap();
        let words = text.split(|letter: char| !(letter.is_ascii_lowercase() || letter == '-'));
        let is_flag = |word: &str| word.starts_with("--") && !word.ends_with('-');
        for flag in words.filter(|word| is_flag(word)) {
            if !OTHERS.contains(&flag) {
                found += 1;
                let names = [format!("\n  {flag}="), format!("\n  {flag}\n")];
                let is_flag = names.iter().any(|name| help.contains(name));
                assert!(is_flag, "{file} names {flag}, which broker --help does not");
            }
        }
    }
    assert!(found > 10, "only {found} flags were found");
}
