//! The command line of the subscriber.

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
    ],
    takes_arguments: true,
    flags: &[
        Flag {
            name: "topic",
            value: "<topic>",
            repeats: false,
            help: "Print this topic's messages, one per line, as they come. Without it and \
                   without an id, received.txt in the working directory is kept equal to the \
                   topic that topic.txt names, for ever. With an id, 'subscribe <TOPIC>' and \
                   'unsubscribe <TOPIC>' are read from standard input, and what comes is printed \
                   as '>> DELIVER <topic> <message> <publisher> <date>'. The broker keeps what is \
                   published while the id is away. The end of what is typed ends it; after the \
                   end of a pipe or a file that subscribed to a topic it goes on.",
        },
        Flag {
            name: "from",
            value: "<offset>",
            repeats: false,
            help: "Print from this message on; 0 is the first. Default: what is published from \
                   now on.",
        },
        Flag {
            name: "count",
            value: "<n>",
            repeats: false,
            help: "Exit after so many messages. Default: never.",
        },
        Flag {
            name: "output",
            value: "<file>",
            repeats: false,
            help: "Print to this file, which is replaced if it is there. Default: standard output.",
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
    Print {
        /// The topic's name.
        topic: String,
        /// The first offset; `None` for what is published from now on.
        from: Option<u64>,
        /// How many messages; `None` for all that ever come.
        count: Option<u64>,
        /// The file to print to; `None` for standard output.
        output: Option<PathBuf>,
    },
}

impl Config {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn from(arguments: &Arguments) -> Result<Config, Error> {
        let topic = arguments.value("topic");
        if topic.is_none()
            && let Some(flag) = ["from", "count", "output"].iter().find(|flag| arguments.has(flag))
        {
            return Err(Error::Combination(format!("--{flag} needs --topic=<topic>")));
        }
        let form = match (topic, arguments.ordinary()) {
            (None, []) => Form::Keep,
            (None, [id]) if is_word(id) => Form::Dialogue { id: id.clone() },
            (None, [_]) => {
                return Err(Error::Combination("an id is one word, not empty".to_owned()));
            }
            (Some(topic), []) => Form::Print {
                topic: topic.to_owned(),
                from: arguments.number("from")?,
                count: arguments.number("count")?,
                output: arguments.parsed("output")?,
            },
            (Some(_), [unexpected, ..]) | (None, [_, unexpected, ..]) => {
                return Err(Error::UnexpectedArgument(unexpected.clone()));
            }
        };
        Ok(Config { location: Location::from(arguments)?, form })
    }
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
        let Form::Print { topic, from, count, output } =
            form(&["--topic=t", "--from=0", "--count", "2"]).unwrap()
        else {
            panic!()
        };
        assert_eq!((topic.as_str(), from, count, output), ("t", Some(0), Some(2), None));
        assert!(form(&["--topic=t", "--from=-1"]).is_err());
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
