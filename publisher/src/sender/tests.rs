//! The sender against a broker that follows a script.

use super::*;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What the scripted broker does with one request.
enum Act {
    /// Answers with this status and body.
    Answer(u16, &'static str),
    /// Closes the connection, as a broker that dies does; the request may have been handled.
    Close,
}
use Act::{Answer as Say, Close};

/// Takes one request after another, does what the script says, and gives the bodies back.
fn broker(script: Vec<Act>) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        let mut bodies = Vec::new();
        let mut connection: Option<BufReader<TcpStream>> = None;
        for act in script {
            let mut open = match connection.take() {
                Some(open) => open,
                None => BufReader::new(listener.accept().unwrap().0),
            };
            bodies.push(read_body(&mut open));
            if let Say(status, body) = act {
                let size = body.len();
                write!(
                    open.get_mut(),
                    "HTTP/1.1 {status} X\r\nContent-Length: {size}\r\n\r\n{body}"
                )
                .unwrap();
                connection = Some(open);
            }
        }
        bodies
    });
    (address, thread)
}

fn read_body(open: &mut BufReader<TcpStream>) -> String {
    let mut size = 0;
    loop {
        let mut line = String::new();
        open.read_line(&mut line).unwrap();
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            size = value.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; size];
    open.read_exact(&mut body).unwrap();
    String::from_utf8(body).unwrap()
}

/// Publishes the messages to topic `t` of a scripted broker. Gives the first error, and message,
/// epoch and sequence of each request that the broker saw.
fn publish(messages: &[&str], script: Vec<Act>) -> (Result<(), Error>, Vec<String>) {
    let (address, thread) = broker(script);
    let mut sender = Sender::new(Broker::at(address).patience(Duration::from_secs(60)));
    let result = messages.iter().try_for_each(|message| sender.publish("t", message));
    let requests = thread.join().unwrap();
    let seen = requests.iter().map(|body| {
        let request = common::json::parse(body.as_bytes()).unwrap();
        let number = |key| request.get_u64(key).map_or("-".to_owned(), |it| it.to_string());
        let message = request.get_str("message").unwrap();
        format!("{message:?} {} {}", number("epoch"), number("sequence"))
    });
    (result, seen.collect())
}

#[test]
fn a_publish_is_one_json_object_with_its_sequence() {
    let mut sender = Sender::new(Broker::at("nowhere:1"));
    (sender.name, sender.epoch) = ("me".to_owned(), 1);
    sender.sequences.insert("a\"b".to_owned(), 2);
    let numbered = r#"{"topic":"a\"b","message":"x\\y","publisher":"me","epoch":1,"sequence":2}"#;
    let bare = r#"{"topic":"a\"b","message":"x\\y"}"#;
    for expected in [numbered, bare] {
        assert_eq!(String::from_utf8(sender.body("a\"b", "x\\y")).unwrap(), expected);
        sender.is_bare = true;
    }
}

#[test]
fn a_message_whose_answer_was_lost_is_sent_again_under_the_same_number() {
    let script = vec![Say(200, "{}"), Close, Say(503, ""), Say(200, "{\"duplicate\":true}")];
    let (result, seen) = publish(&["a", "b"], script);
    result.unwrap();
    assert_eq!(seen, ["\"a\" 0 0", "\"b\" 0 1", "\"b\" 0 1", "\"b\" 0 1"]);
}

#[test]
fn a_broker_that_lost_its_memory_gets_a_new_epoch() {
    let script = vec![
        Say(200, "{}"),
        Say(409, "{\"status\":409,\"expected\":0}"),
        Say(200, "{}"),
        Say(200, "{}"),
    ];
    let (result, seen) = publish(&["a", "b", "c"], script);
    result.unwrap();
    assert_eq!(seen, ["\"a\" 0 0", "\"b\" 0 1", "\"b\" 1 0", "\"c\" 1 1"]);
}

#[test]
fn a_broker_that_takes_no_field_it_does_not_know_gets_bare_messages() {
    let script = vec![Say(422, "epoch?"), Say(503, ""), Say(201, ""), Say(201, "")];
    let (result, seen) = publish(&["a", "b"], script);
    result.unwrap();
    assert_eq!(seen, ["\"a\" 0 0", "\"a\" - -", "\"a\" - -", "\"b\" - -"]);
}

#[test]
fn a_message_that_no_broker_takes_is_not_bared_for_ever() {
    let (result, seen) = publish(&["a"], vec![Say(400, ""), Say(400, "{\"detail\":\"no\"}")]);
    assert!(result.unwrap_err().to_string().ends_with("400, no"));
    assert_eq!(seen, ["\"a\" 0 0", "\"a\" - -"]);
    let (result, seen) = publish(&["a", "b"], vec![Say(200, ""), Say(400, "")]);
    result.unwrap_err();
    assert_eq!(seen, ["\"a\" 0 0", "\"b\" 0 1"]);
}

#[test]
fn a_broker_that_lost_only_the_last_messages_gets_a_new_epoch_too() {
    let script = vec![
        Say(200, "{}"),
        Say(200, "{}"),
        Say(409, "{\"status\":409,\"expected\":1}"),
        Say(200, "{}"),
    ];
    let (result, seen) = publish(&["a", "b", "c"], script);
    result.unwrap();
    assert_eq!(seen, ["\"a\" 0 0", "\"b\" 0 1", "\"c\" 0 2", "\"c\" 1 0"]);
}

#[test]
fn a_refusal_ends_it_and_says_how_far_it_came() {
    let script = vec![Say(200, "{}"), Say(413, "{\"detail\":\"too long\"}")];
    let (result, seen) = publish(&["a", "b", "c"], script);
    let line = result.unwrap_err().to_string();
    assert!(line.ends_with("\"t\": 413, too long; 1 message was published before"), "{line}");
    assert_eq!(seen.len(), 2);
}

#[test]
fn an_http_1_0_server_that_says_nothing_but_2xx_is_enough() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        for answer in ["HTTP/1.0 200 OK\r\n\r\nstored\n", "HTTP/1.0 204 No Content\r\n\r\n"] {
            let mut open = BufReader::new(listener.accept().unwrap().0);
            read_body(&mut open);
            open.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    let mut sender = Sender::new(Broker::at(address));
    sender.publish("t", "a").unwrap();
    sender.publish("t", "b").unwrap();
    thread.join().unwrap();
}

#[test]
fn without_a_broker_it_gives_up_in_time_and_says_what_to_do() {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut sender = Sender::new(Broker::at(unused).patience(Duration::from_millis(50)));
    let line = sender.publish("t", "a").unwrap_err().to_string();
    assert!(line.contains("start it"), "{line}");
}

#[test]
fn a_fault_of_the_broker_passes_and_a_fault_of_the_request_does_not() {
    for status in [408, 429, 500, 501, 502, 503, 504, 507] {
        let (result, seen) = publish(&["a"], vec![Say(status, ""), Say(204, "")]);
        result.unwrap();
        assert_eq!(seen.len(), 2, "{status}");
    }
    for status in [301, 401, 403, 404, 405, 413, 421] {
        let (result, seen) = publish(&["a"], vec![Say(status, "")]);
        assert!(result.is_err() && seen.len() == 1, "{status}");
    }
}

#[test]
fn a_conflict_that_does_not_name_an_earlier_sequence_is_a_refusal() {
    for body in ["{\"expected\":0}", "{\"expected\":3}", "conflict"] {
        assert!(publish(&["a"], vec![Say(409, body)]).0.is_err(), "{body}");
    }
}

#[test]
fn two_runs_have_two_names() {
    let name = || Sender::new(Broker::at("nowhere:1")).name;
    assert_ne!(name(), name());
}
