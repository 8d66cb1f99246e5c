//! The command line of the subscriber.

use crate::print::{Begin, Print};
use common::flags::{Arguments, Error, Flag, Program};
use common::location::{self, Location};
use std::path::PathBuf;

/// The subscriber's flags and help.
pub const PROGRAM: Program = Program {
    name: "subscriber",
    purpose: "Follow a topic of a broker.",
    usage: &[
        "subscriber",
        "subscriber <id>",
        "subscriber --topic <topic> [--from <offset>] [--count <n>] [--output <file>]",
        "subscriber --topic <topic>... [--last <n>] [--since <time>] [--time] [--json]",
    ],
    takes_arguments: true,
    flags: &[
        Flag {
            name: "topic",
            value: "<topic>",
            repeats: true,
            help: "Print the messages of this topic, one per line, as they come; of several \
                   topics, each behind its topic and a tab. Without it and without an id, \
                   received.txt in the working directory is kept equal to the topic that topic.txt \
                   names, for ever. With an id, 'subscribe <TOPIC>' and 'unsubscribe <TOPIC>' are \
                   read from standard input, and what comes is printed as '>> DELIVER <topic> \
                   <message> <publisher> <date>'. The broker keeps what is published while the id \
                   is away. The end of what is typed ends it; after the end of a pipe or a file \
                   that subscribed to a topic it goes on.",
        },
        Flag {
            name: "from",
            value: "<offset>",
            repeats: false,
            help: "Print from this message on; 0 is the first. Default: what is published from \
                   now on.",
        },
        Flag {
            name: "last",
            value: "<n>",
            repeats: false,
            help: "Print the last so many messages, and what comes.",
        },
        Flag {
            name: "since",
            value: "<time>",
            repeats: false,
            help: "Print what was published since then, and what comes: 10m ago, or a date and \
                   time such as 2026-11-28T14:00:00Z.",
        },
        Flag {
            name: "count",
            value: "<n>",
            repeats: false,
            help: "Exit after so many messages. Default: never.",
        },
        Flag {
            name: "time",
            value: "",
            repeats: false,
            help: "Put the time of publishing (UTC) and a tab before each message.",
        },
        Flag {
            name: "json",
            value: "",
            repeats: false,
            help: "Print each message as a JSON object with topic, offset, message, time (Unix \
                   milliseconds) and publisher.",
        },
        Flag {
            name: "output",
            value: "<file>",
            repeats: false,
            help: "Print to this file, which is replaced if it is there. Default: -, standard \
                   output.",
        },
        location::FLAG,
        location::TOKEN_FLAG,
    ],
    environment: location::ENVIRONMENT,
    examples: &[
        "echo alpha > topic.txt; subscriber",
        "subscriber",
        "subscriber ann",
        "echo subscribe alpha | subscriber ann",
        "subscriber --topic alpha --from 0",
        "subscriber --topic alpha --topic beta --last 10 --time",
        "subscriber --topic alpha --since 1h --json",
        "subscriber --broker broker.example:9000 --topic alpha --count 1 | wc",
    ],
};

/// What is to be followed, and where it goes.
#[derive(Debug)]
pub struct Config {
    /// The broker.
    pub location: Location,
    /// What the messages become.
    pub form: Form,
}

/// What the subscriber makes of a topic.
#[derive(Debug)]
pub enum Form {
    /// `received.txt`, kept equal to the topic that `topic.txt` names.
    Keep,
    /// What an id subscribes to on standard input, as it is delivered.
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
    /// What is wrong with them.
    pub fn from(arguments: &Arguments) -> Result<Config, Error> {
        let print_flag = PRINT_FLAGS.iter().find(|flag| arguments.has(flag));
        if let (false, Some(flag)) = (arguments.has("topic"), print_flag) {
            return Err(wrong(&format!("--{flag} needs --topic=<topic>")));
        }
        let form = match arguments.ordinary() {
            [] if arguments.has("topic") => Form::Print(print(arguments)?),
            [unexpected, ..] if arguments.has("topic") => {
                return Err(Error::UnexpectedArgument(unexpected.clone()));
            }
            [] => Form::Keep,
            [id] if is_word(id) => Form::Dialogue { id: id.clone() },
            [_] => return Err(wrong("an id is one word, not empty")),
            [topic, ..] => {
                let hint = "an id stands alone; to print messages, name each topic with --topic";
                return Err(wrong(&format!("{hint}={topic}")));
            }
        };
        Ok(Config { location: Location::from(arguments)?, form })
    }
}

/// What goes with topics alone.
const PRINT_FLAGS: [&str; 7] = ["from", "last", "since", "count", "time", "json", "output"];

fn print(arguments: &Arguments) -> Result<Print, Error> {
    let (from, last) = (arguments.number("from")?, arguments.number("last")?);
    let begin = match (from, last, arguments.value("since")) {
        (None, None, None) => Begin::Now,
        (Some(offset), None, None) => Begin::Offset(offset),
        (None, Some(count), None) => Begin::Last(count),
        (None, None, Some(time)) => Begin::Since(time.to_owned()),
        _ => return Err(wrong("of --from, --last and --since only one can be given")),
    };
    if arguments.has("time") && arguments.has("json") {
        return Err(wrong("--json says the time already: leave out --time"));
    }
    let mut topics: Vec<String> = Vec::new();
    for topic in arguments.values("topic") {
        if topics.iter().any(|known| known == topic) {
            return Err(wrong(&format!("topic {topic:?} was given twice")));
        }
        topics.push(topic.to_owned());
    }
    Ok(Print {
        topics,
        begin,
        count: arguments.number("count")?,
        output: arguments.value("output").filter(|file| *file != "-").map(PathBuf::from),
        is_json: arguments.has("json"),
        has_time: arguments.has("time"),
    })
}

fn wrong(reason: &str) -> Error {
    Error::Combination(reason.to_owned())
}

/// Whether a line of words can hold this as one of them.
fn is_word(id: &str) -> bool {
    !id.is_empty() && !id.contains(|c: char| c.is_whitespace() || c.is_control())
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
    fn the_examples_in_the_help_are_right() {
        for arguments in PROGRAM.parse_examples().unwrap() {
            Config::from(&arguments).unwrap();
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
            begin: Begin::Offset(0),
            count: Some(2),
            output: None,
            is_json: false,
            has_time: false,
        };
        assert_eq!(print(&["--topic=t", "--from=0", "--count", "2", "--output=-"]), expected);
        assert_eq!(print(&["--topic=t", "--last=5"]).begin, Begin::Last(5));
        assert_eq!(print(&["--topic=t", "--since=1h"]).begin, Begin::Since("1h".to_owned()));
        let two = print(&["--topic=t", "--topic", "u", "--json"]);
        assert!(two.is_json && two.begin == Begin::Now && two.topics == ["t", "u"]);
        for arguments in [
            &["--topic=t", "--from=-1"][..],
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
