//! The command line of the publisher.

use common::client::Broker;
use common::flags::{Arguments, Error, Program, is_word, refuse_if};
use std::path::PathBuf;
use std::time::Duration;

/// How long a message is tried, where nothing else is said.
const WAIT: Duration = Duration::from_secs(30);

/// Topics and messages that are published without arguments.
const FIVE: [(&str, &str); 5] =
    [("alpha", "one"), ("alpha", "two"), ("alpha", "three"), ("beta", "red"), ("beta", "green")];

/// The publisher's flags and help.
pub const PROGRAM: Program = Program { name: "publisher", help: include_str!("help.txt") };

/// The messages and the broker.
#[derive(Debug)]
pub struct Config {
    /// The broker.
    pub broker: Broker,
    /// Where the messages come from.
    pub form: Form,
    /// How long attempts may fail; `None` for as long as it takes.
    pub wait: Option<Duration>,
}

/// Where messages come from.
#[derive(Debug, PartialEq, Eq)]
pub enum Form {
    /// From the command line: topic and message, in the order in which they are published.
    Messages(Vec<(String, String)>),
    /// From lines of standard input that name their topics.
    Dialogue {
        /// Under which they are published.
        id: String,
    },
    /// Every line is one.
    Lines {
        /// The topic's name.
        topic: String,
        /// The file; `None` for standard input.
        file: Option<PathBuf>,
        /// Under which a file is published in several runs.
        id: Option<String>,
    },
    /// The same ones again and again.
    Repeat {
        /// Each of which gets them all.
        topics: Vec<String>,
        /// If empty, numbered ones.
        messages: Vec<String>,
        /// From one time to the next.
        period: Duration,
    },
}

impl Config {
    /// Reads the command line and the environment.
    ///
    /// # Errors
    ///
    /// If they are wrong.
    pub fn from(arguments: &Arguments) -> Result<Config, Error> {
        let form = Form::from(arguments)?;
        let is_bare = arguments.ordinary().is_empty() && !arguments.has("topic");
        let wait = match arguments.time("wait")? {
            None if is_bare => None,
            given => Some(given.unwrap_or(WAIT)),
        };
        Ok(Config { broker: Broker::from_arguments(arguments)?, form, wait })
    }
}

impl Form {
    fn from(arguments: &Arguments) -> Result<Form, Error> {
        let topics: Vec<String> = arguments.values("topic").map(str::to_owned).collect();
        let file = arguments.value("file").filter(|file| *file != "-").map(PathBuf::from);
        let (has_file, given) = (arguments.has("file"), arguments.ordinary());
        refuse_if(has_file && topics.is_empty(), "--file needs --topic=<topic>")?;
        refuse_if(has_file && arguments.has("every"), "--every does not work with --file")?;
        let resumes_input = has_file && file.is_none() && !given.is_empty();
        refuse_if(resumes_input, "standard input cannot be resumed: leave out the id")?;
        if let Some(period) = arguments.time("every")? {
            if period.is_zero() {
                return Err(Error::value("every", "0", "it must be longer than 0"));
            }
            refuse_if(topics.is_empty(), "--every needs --topic=<topic>")?;
            return Ok(Form::Repeat { topics, messages: given.to_vec(), period });
        }
        let wrong = match (topics.as_slice(), &file, given) {
            ([], _, []) => {
                let owned = |(topic, message): (&str, &str)| (topic.to_owned(), message.to_owned());
                return Ok(Form::Messages(FIVE.map(owned).to_vec()));
            }
            ([], _, [id]) if is_word(id) => return Ok(Form::Dialogue { id: id.clone() }),
            ([], _, [id]) if id.is_empty() => "the id must not be empty",
            ([], _, [_]) => "an id is one word, and a message needs --topic=<topic>",
            ([], _, [topic, messages @ ..]) => {
                let messages = messages.join(" ");
                let hint = format!("publisher --topic={topic:?} {messages:?}");
                return Err(Error::new(format!("messages need a topic: {hint}")));
            }
            ([topic], Some(_), [] | [_]) | ([topic], None, []) => {
                return Ok(Form::Lines { topic: topic.clone(), file, id: given.first().cloned() });
            }
            ([_], Some(_), _) => "with --file there may be one id, and no messages",
            ([topic], None, messages) => {
                let with_topic = |message: &String| (topic.clone(), message.clone());
                return Ok(Form::Messages(messages.iter().map(with_topic).collect()));
            }
            _ => "several topics need --every=<period>",
        };
        Err(Error::new(wrong))
    }
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

    fn form(arguments: &[&str]) -> Form {
        config(arguments).unwrap().form
    }

    #[test]
    fn without_arguments_the_five_messages_are_tried_for_ever() {
        let Config { form: Form::Messages(messages), wait, .. } = config(&[]).unwrap() else {
            panic!()
        };
        let lines: Vec<String> =
            messages.iter().map(|(topic, message)| format!("{topic} {message}")).collect();
        assert_eq!(lines, ["alpha one", "alpha two", "alpha three", "beta red", "beta green"]);
        assert_eq!(wait, None);
    }

    #[test]
    fn with_a_topic_the_messages_are_tried_for_a_while() {
        let config = config(&["--topic", "t", "a", "", "--", "-b"]).unwrap();
        let message = |text: &str| ("t".to_owned(), text.to_owned());
        assert_eq!(config.form, Form::Messages(["a", "", "-b"].map(message).to_vec()));
        assert_eq!(config.wait, Some(Duration::from_secs(30)));
    }

    #[test]
    fn lines_come_from_a_file_or_from_standard_input() {
        let lines = |file: Option<&str>, id: Option<&str>| Form::Lines {
            topic: "t".to_owned(),
            file: file.map(PathBuf::from),
            id: id.map(str::to_owned),
        };
        assert_eq!(form(&["--topic=t"]), lines(None, None));
        assert_eq!(form(&["--topic=t", "--file=f"]), lines(Some("f"), None));
        assert_eq!(form(&["--topic=t", "--file=f", "ann"]), lines(Some("f"), Some("ann")));
        assert_eq!(form(&["ann"]), Form::Dialogue { id: "ann".to_owned() });
    }

    #[test]
    fn messages_are_repeated_to_one_topic_or_several() {
        let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let repeat = |topics, messages| Form::Repeat {
            topics: texts(topics),
            messages: texts(messages),
            period: Duration::from_millis(500),
        };
        let every = "--every=500ms";
        assert_eq!(form(&[every, "--topic=t"]), repeat(&["t"], &[]));
        assert_eq!(form(&[every, "--topic=t", "--topic=u", "a"]), repeat(&["t", "u"], &["a"]));
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        for arguments in [
            &["one", "two"][..],
            &[""],
            &["one two"],
            &["--every=1s"],
            &["--every=1s", "message"],
            &["--every=1s", "--topic=t", "--file=f"],
            &["--every=often", "--topic=t"],
            &["--file=f"],
            &["--file=-"],
            &["--file=-", "--topic=t", "ann"],
            &["--file=f", "ann"],
            &["--topic=t", "--file=f", "ann", "bob"],
            &["--topic=t", "--topic=u"],
            &["--topic=t", "--topic=u", "message"],
        ] {
            assert!(config(arguments).is_err(), "{arguments:?}");
        }
    }
}
