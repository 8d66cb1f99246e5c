//! The examples in other languages, used as their text says.

use std::fs;
use std::process::Command;
use tests::wait::{DEADLINE, wait_for, wait_until};
use tests::{Browser, ENTER, Folder, Process, System, program, tools};

/// The client in Python, told where the broker is.
fn client(system: &System, arguments: &[&str]) -> Option<Command> {
    let mut command = tools::python3()?;
    command.arg(program::workspace().join("common/examples/client.py")).args(arguments);
    command.env("BROKER", format!("http://{}", system.address()));
    Some(command)
}

#[test]
fn the_client_in_python_publishes_and_follows() {
    let mut system = System::reserve_with(&["--data", "data"]);
    system.start_broker();
    let Some(publish) = client(&system, &["publish", "a b/ü", "one", "zwei: ü"]) else { return };
    Process::start("publish", publish, &Folder::temporary("publish")).succeed();
    assert_eq!(system.messages("a b/ü"), ["one", "zwei: ü"]);

    let follow = client(&system, &["follow", "a b/ü", "1"]).unwrap();
    let follow = Process::start("follow", follow, &Folder::temporary("follow"));
    // Offset and publisher aside: the name of the publisher is another every time.
    let messages = || {
        let output = follow.output();
        output
            .lines()
            .filter_map(|line| Some(line.splitn(3, ' ').nth(2)?.to_owned()))
            .collect::<Vec<_>>()
    };
    wait_until(DEADLINE, "the second message", || messages() == ["zwei: ü"]);
    system.kill_broker();
    system.start_broker();
    let publish = client(&system, &["publish", "a b/ü", "three"]).unwrap();
    Process::start("publish", publish, &Folder::temporary("publish")).succeed();
    wait_until(DEADLINE, "the third message", || messages() == ["zwei: ü", "three"]);
}

#[test]
fn the_client_in_python_says_why_it_was_refused() {
    let system = System::start();
    let Some(publish) = client(&system, &["publish", "t", "two\nlines"]) else { return };
    let mut publish = Process::start("publish", publish, &Folder::temporary("publish"));
    assert!(!publish.wait().success());
    assert!(publish.errors().starts_with("400: {"), "{}", publish.errors());
}

/// A page of another origin, with and without a token.
#[test]
fn a_page_of_ones_own_publishes_and_follows() {
    let (Some(mut command), Some(mut browser)) = (tools::python3(), Browser::start()) else {
        return;
    };
    let examples = program::workspace().join("common/examples");
    command.args(["-m", "http.server", "0", "--bind", "127.0.0.1", "--directory"]).arg(examples);
    let server = Process::start("http.server", command, &Folder::temporary("server"));
    let origin = wait_for(DEADLINE, "the address of the server", || {
        let output = server.output();
        let (_, rest) = output.split_once("(http://")?;
        rest.split_once('/').map(|(address, _)| format!("http://{address}"))
    });
    let folder = Folder::temporary("token");
    folder.write("token", "secret-1");
    let token = folder.path().join("token");
    for (arguments, query) in [
        (vec!["--data", "data"], ""),
        (vec!["--data", "data", "--token-file", token.to_str().unwrap()], "&token=secret-1"),
    ] {
        let mut system =
            System::reserve_with(&[arguments, vec!["--allow-origin", &origin]].concat());
        system.start_broker();
        let page =
            format!("{origin}/browser.html?topic=t&broker=http://{}{query}", system.address());
        browser.go(&page);
        browser.write("input", &format!("<b>one{ENTER}"));
        let list = "document.querySelector('ol')";
        browser.wait_until(&format!("{list}.innerText.endsWith(' <b>one')"));
        system.kill_broker();
        system.start_broker();
        browser.write("input", &format!("two{ENTER}"));
        browser.wait_until(&format!("{list}.innerText.endsWith(' two')"));
        browser.wait_until(&format!("{list}.childElementCount === 2"));
    }
}

/// The README's program in Rust, as the whole of a crate outside of the workspace.
#[test]
fn the_program_in_the_readme_publishes_and_follows() {
    let system = System::start();
    let readme = fs::read_to_string(program::workspace().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```rust\n").unwrap();
    let (source, _) = rest.split_once("```").unwrap();
    let folder = Folder::temporary("readme");
    fs::create_dir(folder.path().join("src")).unwrap();
    folder.write("src/main.rs", source.replace("localhost:9000", &system.address()));
    let common = program::workspace().join("common");
    let manifest = format!(
        "[package]\nname = \"readme\"\nedition = \"2024\"\n[workspace]\n\
         [dependencies]\ncommon = {{ path = {common:?} }}\n"
    );
    folder.write("Cargo.toml", manifest);
    let mut command = Command::new("cargo");
    command.args(["run", "--offline", "--quiet"]).env("CARGO_TARGET_DIR", folder.path());
    let process = Process::start("readme", command, &folder);
    wait_until(DEADLINE, "the message", || process.output().contains("text: \"hello\""));
    assert_eq!(system.messages("greetings"), ["hello"]);
}
