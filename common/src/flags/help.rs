//! What `--help` and `--version` print.

use super::Program;

/// The column that help text does not go past.
const HELP_COLUMNS: usize = 80;

impl Program {
    /// What `--help` prints.
    #[must_use]
    pub fn help(&self) -> String {
        const BUILT_IN: [(&str, &str); 2] =
            [("-h, --help", "Print this and exit."), ("--version", "Print the version and exit.")];
        let mut text = format!("{}\n\nUsage:\n\n", self.purpose);
        for line in self.usage {
            text.push_str(&format!("  {line}\n"));
        }
        text.push_str("\nOptions:\n\n");
        for flag in self.flags {
            let equals = if flag.value.is_empty() { "" } else { "=" };
            entry(&mut text, &format!("--{}{equals}{}", flag.name, flag.value), flag.help);
        }
        for (flag, help) in BUILT_IN {
            entry(&mut text, flag, help);
        }
        if !self.environment.is_empty() {
            text.push_str("Environment:\n\n");
            for (variable, help) in self.environment {
                entry(&mut text, variable, help);
            }
        }
        text.push_str("Exit status: 0 done, 1 failed while running, 2 wrong usage.\n");
        text.push_str("\nExamples:\n\n");
        for example in self.examples {
            text.push_str(&format!("  {example}\n"));
        }
        text
    }

    /// What `--version` prints.
    #[must_use]
    pub fn version(&self) -> String {
        format!("{} {}\n", self.name, env!("CARGO_PKG_VERSION"))
    }
}

/// Appends a title and under it, indented, its text in lines of at most [`HELP_COLUMNS`].
fn entry(help: &mut String, title: &str, text: &str) {
    const INDENT: &str = "        ";
    help.push_str(&format!("  {title}\n"));
    let mut line = String::from(INDENT);
    for word in text.split_whitespace() {
        if line.len() > INDENT.len() {
            if line.chars().count() + 1 + word.chars().count() > HELP_COLUMNS {
                help.push_str(&format!("{line}\n"));
                line.truncate(INDENT.len());
            } else {
                line.push(' ');
            }
        }
        line.push_str(word);
    }
    help.push_str(&format!("{line}\n\n"));
}
