//! A chat for any number of people: `cargo run -p common --example chat -- NAME [TOPIC]`.
//!
//! Each line that you type is published under your name, and each line of the others is printed.
//! The broker is at `PEER_BROKER_HOST` and `PEER_BROKER_PORT`, else at 127.0.0.1:9000. If it is
//! away, the chat waits for it and continues.

#![forbid(unsafe_code)]

use common::client::{Broker, Error, Event, Publisher, Start, Subscriber};
use common::flags::{Arguments, one_line};
use common::terminal::escaped;
use std::borrow::Cow;
use std::io::{self, BufRead, IsTerminal};
use std::process::ExitCode;
use std::{env, thread};

fn main() -> ExitCode {
    let mut arguments = env::args().skip(1);
    let Some(name) = arguments.next() else {
        eprintln!("usage: chat NAME [TOPIC]");
        return ExitCode::from(2);
    };
    let topic = arguments.next().unwrap_or_else(|| "chat".to_owned());
    let broker = match Broker::from_arguments(&Arguments::default()) {
        Ok(broker) => broker.on_notice(|notice| eprintln!("chat: {notice}")),
        Err(error) => return fail(&error),
    };
    match chat(&broker, &name, &topic) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

/// Chats until the end of input.
fn chat(broker: &Broker, name: &str, topic: &str) -> Result<(), Error> {
    let mut subscriber = Subscriber::new(broker.clone());
    subscriber.subscribe(topic, Start::Now)?;
    let own_name = name.to_owned();
    thread::spawn(move || {
        for event in subscriber {
            match event {
                Ok(event) => print(&event, &own_name),
                Err(error) => drop(fail(&error)),
            }
        }
    });
    let mut publisher = Publisher::named(broker.clone(), name);
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        match publisher.publish(topic, &line) {
            // The next line may be better, unless nobody may come in or the name is taken.
            Err(error @ Error::Refused { code: 400 | 413, .. }) => drop(fail(&error)),
            result => drop(result?),
        }
    }
    Ok(())
}

fn print(event: &Event, own_name: &str) {
    match event {
        Event::Message(message) => match message.publisher.as_deref() {
            Some(name) if name == own_name => {}
            name => println!("{}: {}", shown(name.unwrap_or("somebody")), shown(&message.text)),
        },
        Event::Reset { topic } => println!("({topic} was deleted and created again)"),
        Event::Trimmed { .. } => println!("(some of what was said is gone)"),
    }
}

/// Exact through a pipe; on a terminal, nothing that others write moves the cursor.
fn shown(text: &str) -> Cow<'_, str> {
    if io::stdout().is_terminal() { escaped(text) } else { text.into() }
}

fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("chat: {}", one_line(error));
    ExitCode::FAILURE
}
