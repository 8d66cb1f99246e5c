//! A network of one's own, with nodes that can be cut off.
//!
//! It lives in namespaces of the kernel, together with all processes that use it, and ends with the
//! first of them, however that ends: nothing is left to be removed. Where the system lets every
//! user have namespaces, nobody needs to be root.
//!
//! A program cannot move itself there: it is [run again](again).

use crate::tools;
use std::env;
use std::ffi::OsStr;
use std::process::Command;

/// Set for programs that are in such a network.
const OWN: &str = "TESTS_OWN_NETWORK";

/// The host of the program itself.
const HERE: u8 = 254;

/// One of the two links that each node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// To the program that is in the network, and what that runs.
    Clients,
    /// To the other nodes.
    Nodes,
}

impl Link {
    const ALL: [Link; 2] = [Link::Clients, Link::Nodes];

    fn name(self) -> &'static str {
        if self == Link::Clients { "clients" } else { "nodes" }
    }

    /// The host that a node is on this link.
    pub(crate) fn host(self, node: usize) -> String {
        format!("10.0.{}.{}", self as u8, node + 1)
    }
}

/// Whether this program is in a network of its own.
#[must_use]
pub fn is_own() -> bool {
    env::var_os(OWN).is_some()
}

/// What runs this program once more, in a network of its own and as `root` there; nothing where the
/// system has none for it.
///
/// # Panics
///
/// When the system does not know what it runs.
#[must_use]
pub fn again(arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Option<Command> {
    let mut command = tools::namespaces()?;
    // The shell is the first process there: all others end with it. Names of namespaces are files,
    // which are to end as well.
    let begin = "mount -t tmpfs tmpfs /run && ip link set lo up && \"$@\"; exit";
    command.args(["sh", "-c", begin, "sh"]);
    command.arg(env::current_exe().expect("the system knows what it runs")).args(arguments);
    command.env(OWN, "1");
    Some(command)
}

/// Makes so many nodes, in a network of one's own.
pub(crate) fn make(nodes: usize) {
    for link in Link::ALL.map(Link::name) {
        ip(&format!("link add name {link} type bridge"));
        ip(&format!("link set {link} up"));
    }
    ip(&format!("address add 10.0.{}.{HERE}/24 dev clients", Link::Clients as u8));
    for node in 0..nodes {
        ip(&format!("netns add n{node}"));
        ip(&format!("-n n{node} link set lo up"));
        for link in Link::ALL {
            let (name, host) = (link.name(), link.host(node));
            ip(&format!("link add name {name}{node} type veth peer name {name} netns n{node}"));
            ip(&format!("link set {name}{node} master {name} up"));
            ip(&format!("-n n{node} address add {host}/24 dev {name}"));
            ip(&format!("-n n{node} link set {name} up"));
        }
    }
}

/// What starts a program on a node.
pub(crate) fn on(node: usize, program: &Command) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", &format!("n{node}")]);
    command.arg(program.get_program()).args(program.get_args());
    command
}

/// Loses all that a node and the others on a link tell each other, or does so no longer.
pub(crate) fn cut(node: usize, link: Link, is_cut: bool) {
    let state = if is_cut { "down" } else { "up" };
    ip(&format!("link set {}{node} {state}", link.name()));
}

fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().expect("there is an ip");
    assert!(status.success(), "ip {words}: {status}");
}
