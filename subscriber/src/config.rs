//! The command line of the subscriber.

use crate::print::Print;
use common::client::{Broker, Start};
use common::flags::{Arguments, Error, Program, is_word, refuse_if};
use common::pattern::Pattern;
use std::io::{self, IsTerminal};
use std::path::PathBuf;

/// The subscriber's flags and help.
pub const PROGRAM: Program = Program { name: "subscriber", help: include_str!("help.txt") };

/// The broker, and what to do.
#[derive(Debug)]
pub struct Config {
    /// The broker.
    pub broker: Broker,
    /// What to do with the messages.
    pub form: Form,
}

/// What the subscriber does.
#[derive(Debug)]
pub enum Form {
    /// `received.txt`, kept equal to the topic that `topic.txt` names.
    Keep,
    /// Deliveries of the topics that an id subscribes to on standard input.
    Dialogue {
        /// Whose subscriptions they are.
        id: String,
    },
    /// Lines, as they come.
    Print(Print),
}

impl Config {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    ///
    /// If they are wrong.
    pub fn from(arguments: &Arguments) -> Result<Config, Error> {
        let print_flag = PRINT_FLAGS.iter().find(|flag| arguments.has(flag));
        let prints = arguments.has("topic") || arguments.has("pattern");
        if let (false, Some(flag)) = (prints, print_flag) {
            return Err(Error::new(format!("--{flag} needs --topic=<topic>")));
        }
        let form = match arguments.ordinary() {
            [] if prints => Form::Print(print(arguments)?),
            [unexpected, ..] if prints => {
                return Err(Error::unexpected(unexpected));
            }
            [] => Form::Keep,
            [id] if is_word(id) => Form::Dialogue { id: id.clone() },
            [_] => return Err(Error::new("an id is one word, not empty")),
            [topic, ..] => {
                let hint = "give only the id; to print messages, name each topic with --topic";
                return Err(Error::new(format!("{hint}={topic}")));
            }
        };
        Ok(Config { broker: Broker::from_arguments(arguments)?, form })
    }
}

/// Flags that need a topic or a pattern.
const PRINT_FLAGS: [&str; 7] = ["from", "last", "since", "count", "time", "json", "output"];

fn print(arguments: &Arguments) -> Result<Print, Error> {
    let (from, last) = (arguments.number("from")?, arguments.number("last")?);
    let start = match (from, last, arguments.value("since")) {
        (None, None, None) => Start::Now,
        (Some(offset), None, None) => Start::Offset(offset),
        (None, Some(count), None) => Start::Last(count),
        (None, None, Some(time)) => Start::Since(time.to_owned()),
        _ => return Err(Error::new("give only one of --from, --last and --since")),
    };
    let has_both = arguments.has("time") && arguments.has("json");
    refuse_if(has_both, "--json includes the time: leave out --time")?;
    let mut topics: Vec<String> = Vec::new();
    for topic in arguments.values("topic") {
        if topics.iter().any(|known| known == topic) {
            return Err(Error::new(format!("topic {topic:?} was given twice")));
        }
        topics.push(topic.to_owned());
    }
    let patterns: Vec<String> = arguments.values("pattern").map(str::to_owned).collect();
    if let Some(wrong) = patterns.iter().find(|text| Pattern::new(text).is_none()) {
        return Err(Error::new(format!("{wrong:?} is no pattern: 1 to 255 bytes")));
    }
    let output = arguments.value("output").filter(|file| *file != "-").map(PathBuf::from);
    Ok(Print {
        topics,
        patterns,
        start,
        left: arguments.number("count")?.unwrap_or(u64::MAX),
        is_terminal: output.is_none() && io::stdout().is_terminal(),
        output,
        is_json: arguments.has("json"),
        has_time: arguments.has("time"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::flags::Command;

    fn form(arguments: &[&str]) -> Result<Form, Error> {
        match PROGRAM.parse(arguments.iter().map(Into::into))? {
            Command::Run(arguments) => Config::from(&arguments).map(|config| config.form),
            Command::Print(text) => panic!("printed {text}"),
        }
    }

    #[test]
    fn without_arguments_a_file_is_kept() {
        assert!(matches!(form(&[]).unwrap(), Form::Keep));
        assert!(form(&["--from=0"]).is_err());
    }

    #[test]
    fn with_a_topic_lines_are_printed() {
        let print = |arguments: &[&str]| match form(arguments).unwrap() {
            Form::Print(print) => print,
            other => panic!("{other:?}"),
        };
        let expected = Print {
            topics: vec!["t".to_owned()],
            patterns: Vec::new(),
            start: Start::Offset(0),
            left: 2,
            output: None,
            is_json: false,
            has_time: false,
            is_terminal: io::stdout().is_terminal(),
        };
        assert_eq!(print(&["--topic=t", "--from=0", "--count", "2", "--output=-"]), expected);
        assert_eq!(print(&["--topic=t", "--last=5"]).start, Start::Last(5));
        assert_eq!(print(&["--topic=t", "--since=1h"]).start, Start::Since("1h".to_owned()));
        let two = print(&["--topic=t", "--topic", "u", "--json"]);
        assert!(two.is_json && two.start == Start::Now && two.topics == ["t", "u"]);
        let both = print(&["--pattern=a/*", "--pattern=b", "--topic=t", "--last=1"]);
        assert_eq!(
            (both.topics, both.patterns),
            (vec!["t".into()], vec!["a/*".into(), "b".into()])
        );
        for arguments in [
            &["--pattern="][..],
            &["--topic=t", "--from=-1"],
            &["--topic=t", "--from=1", "--last=1"],
            &["--topic=t", "--topic=t"],
            &["--topic=t", "--json", "--time"],
            &["--json"],
        ] {
            assert!(form(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn an_id_is_one_word_and_stands_alone() {
        let Form::Dialogue { id } = form(&["ann"]).unwrap() else { panic!() };
        assert_eq!(id, "ann");
        for arguments in [&["ann", "bob"][..], &["a b"], &[""], &["ann", "--topic=t"]] {
            assert!(form(arguments).is_err(), "{arguments:?}");
        }
    }
}
