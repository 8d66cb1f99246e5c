//! The command line of the publisher.

use common::flags::{Arguments, Error, Flag, Program};
use common::location::{self, Location};
use std::time::Duration;

/// How many seconds a message from the command line is tried, where nothing else is said.
const WAIT_SECONDS: u64 = 30;

/// What is published when the command line names nothing: topic and message.
const FIVE: [(&str, &str); 5] =
    [("alpha", "one"), ("alpha", "two"), ("alpha", "three"), ("beta", "red"), ("beta", "green")];

/// The publisher's flags and help.
pub const PROGRAM: Program = Program {
    name: "publisher",
    purpose: "Publish messages to a broker, each exactly once and in order.",
    usage: &["publisher [--broker <host:port>]", "publisher --topic <topic> <message>..."],
    takes_arguments: true,
    flags: &[
        Flag {
            name: "topic",
            value: "<topic>",
            repeats: false,
            help: "Publish the messages on the command line to this topic. Without it, five \
                   messages are published: one, two and three to alpha, red and green to beta.",
        },
        location::FLAG,
        Flag {
            name: "wait",
            value: "<seconds>",
            repeats: false,
            help: "Give up when a message could not be published for so long. Default: 30 with \
                   --topic; without it, never.",
        },
    ],
    environment: location::ENVIRONMENT,
    examples: &[
        "publisher",
        "publisher --topic greetings hello 'good morning'",
        "publisher --broker broker.example:9000 --wait 5 --topic greetings -- --hello--",
    ],
};

/// What is to be published, and where.
#[derive(Debug)]
pub struct Config {
    /// The broker.
    pub location: Location,
    /// Topic and message, in the order in which they are published.
    pub messages: Vec<(String, String)>,
    /// How long each message is tried; `None` for as long as it takes.
    pub wait: Option<Duration>,
}

impl Config {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    ///
    /// What is wrong with them.
    pub fn from(arguments: &Arguments) -> Result<Config, Error> {
        let wait = arguments.parsed("wait")?.map(Duration::from_secs);
        let given = arguments.ordinary();
        let (messages, wait) = match arguments.value("topic") {
            Some(_) if given.is_empty() => return Err(wrong("--topic needs messages after it")),
            Some(topic) => {
                let messages =
                    given.iter().map(|message| (topic.to_owned(), message.clone())).collect();
                (messages, wait.or(Some(Duration::from_secs(WAIT_SECONDS))))
            }
            None if given.is_empty() => {
                let owned = |(topic, message): (&str, &str)| (topic.to_owned(), message.to_owned());
                (FIVE.map(owned).to_vec(), wait)
            }
            None => return Err(wrong("messages need a topic: --topic=<topic>")),
        };
        Ok(Config { location: Location::from(arguments)?, messages, wait })
    }
}

fn wrong(reason: &str) -> Error {
    Error::Combination(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::flags::Command;

    fn config(arguments: &[&str]) -> Result<Config, Error> {
        match PROGRAM.parse(arguments.iter().map(Into::into))? {
            Command::Run(arguments) => Config::from(&arguments),
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
    fn without_arguments_the_five_messages_are_tried_for_ever() {
        let config = config(&[]).unwrap();
        let lines: Vec<String> =
            config.messages.iter().map(|(topic, message)| format!("{topic} {message}")).collect();
        assert_eq!(lines, ["alpha one", "alpha two", "alpha three", "beta red", "beta green"]);
        assert_eq!(config.wait, None);
    }

    #[test]
    fn with_a_topic_the_messages_are_tried_for_a_while() {
        let config = config(&["--topic", "t", "a", "", "--", "-b"]).unwrap();
        let messages: Vec<&str> = config.messages.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(messages, ["a", "", "-b"]);
        assert_eq!(config.wait, Some(Duration::from_secs(30)));
    }

    #[test]
    fn topic_and_messages_need_each_other() {
        assert!(config(&["--topic", "t"]).is_err());
        assert!(config(&["message"]).is_err());
    }
}
