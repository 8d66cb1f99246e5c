//! Flags as a program sees them.

use super::*;

const BREWER: Program = Program {
    name: "brewer",
    help: "\
Brew coffee.

Usage:

  brewer [--beans=<name>]... [<cup>...]

Options:

  --beans=<name>...
        Take these beans; several kinds are mixed in equal parts.

  --minutes=<count>
        How long. Default: 4.

  --decaf
        For the evening.

  -h, --help
        Print this and exit.

  --version
        Print the version and exit.
",
};

fn parse(arguments: &[&str]) -> Result<Arguments, Error> {
    match BREWER.parse(arguments.iter().map(OsString::from))? {
        Command::Run(arguments) => Ok(arguments),
        Command::Print(text) => panic!("printed {text}"),
    }
}

fn refusal(arguments: &[&str]) -> String {
    parse(arguments).unwrap_err().to_string()
}

#[test]
fn both_ways_to_write_a_value_mean_the_same() {
    let apart = parse(&["--beans", "arabica", "--minutes", "5", "cup"]).unwrap();
    let joined = parse(&["cup", "--beans=arabica", "--minutes=5"]).unwrap();
    assert_eq!(apart, joined);
    assert_eq!(apart.value("beans"), Some("arabica"));
    assert_eq!(apart.number("minutes").unwrap(), Some(5_u64));
    assert_eq!(apart.ordinary(), ["cup"]);
    assert!(!apart.has("decaf"));
}

#[test]
fn a_flag_repeats_only_where_it_may() {
    let mixed = parse(&["--beans=a", "--beans=b"]).unwrap();
    assert_eq!(mixed.values("beans").collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(refusal(&["--minutes=1", "--minutes=2"]), "flag --minutes was given twice");
}

#[test]
fn after_two_dashes_everything_is_an_argument() {
    let arguments = parse(&["--decaf", "--", "--beans", "-h", "--"]).unwrap();
    assert!(arguments.has("decaf"));
    assert_eq!(arguments.ordinary(), ["--beans", "-h", "--"]);
}

#[test]
fn values_are_taken_as_they_are_written() {
    assert_eq!(parse(&["--beans=a=b"]).unwrap().value("beans"), Some("a=b"));
    assert_eq!(parse(&["--beans", "-"]).unwrap().value("beans"), Some("-"));
    assert_eq!(parse(&["--beans=--decaf"]).unwrap().value("beans"), Some("--decaf"));
    assert_eq!(parse(&["-"]).unwrap().ordinary(), ["-"]);
}

#[test]
fn a_wrong_flag_is_named_and_the_nearest_one_suggested() {
    assert_eq!(refusal(&["--baens", "x"]), "unknown flag --baens (did you mean --beans?)");
    assert_eq!(refusal(&["--min=4"]), "unknown flag --min (did you mean --minutes?)");
    assert_eq!(refusal(&["-decaf"]), "unknown flag -decaf (did you mean --decaf?)");
    assert_eq!(refusal(&["--hepl"]), "unknown flag --hepl (did you mean --help?)");
    assert_eq!(refusal(&["--sugar"]), "unknown flag --sugar");
    assert_eq!(refusal(&["-5"]), "unknown flag -5");
}

#[test]
fn a_wrong_value_is_named_with_its_reason() {
    assert_eq!(refusal(&["--beans"]), "flag --beans needs a value: --beans=<name>");
    for arguments in [&["--beans", "--decaf"][..], &["--beans="], &["--beans", ""]] {
        assert_eq!(refusal(arguments), "flag --beans needs a value: --beans=<name>");
    }
    assert_eq!(refusal(&["--decaf=no"]), "flag --decaf takes no value");
    let arguments = parse(&["--minutes=soon"]).unwrap();
    assert_eq!(
        arguments.number::<u8>("minutes").unwrap_err().to_string(),
        "flag --minutes cannot be \"soon\": write a whole number"
    );
    assert_eq!(arguments.number::<u8>("beans").unwrap(), None);
}

#[cfg(unix)]
#[test]
fn arguments_that_are_not_text_are_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let error = BREWER.parse([OsString::from_vec(vec![b'a', 0xFF])]).unwrap_err();
    assert_eq!(error.to_string(), "argument \"a\\xFF\" is not UTF-8");
}

#[test]
fn help_is_the_text_that_names_the_flags() {
    let Ok(Command::Print(help)) = BREWER.parse(["--decaf".into(), "-h".into()]) else { panic!() };
    assert_eq!(help, BREWER.help);
}

#[test]
fn the_version_names_the_program() {
    let Ok(Command::Print(version)) = BREWER.parse(["--version".into()]) else { panic!() };
    assert_eq!(version, concat!("brewer ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn an_error_is_told_with_its_causes_in_one_line() {
    #[derive(Debug)]
    struct Spilled(io::Error);
    impl fmt::Display for Spilled {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("coffee spilled")
        }
    }
    impl error::Error for Spilled {
        fn source(&self) -> Option<&(dyn error::Error + 'static)> {
            Some(&self.0)
        }
    }
    let error = Spilled(io::Error::other("table\nshook"));
    assert_eq!(one_line(&error), "coffee spilled: table shook");
}
