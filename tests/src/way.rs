//! A way between two servers that can be closed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How often what is held back looks whether it may go on.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A port that leads to another, unless it is closed.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    port: u16,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    target: u16,
    is_closed: bool,
    /// Whether it is a network that takes everything and brings nothing.
    is_silent: bool,
    /// Both ends of each connection.
    connections: Vec<[TcpStream; 2]>,
}

impl Way {
    /// A way to nowhere yet.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    #[must_use]
    pub(crate) fn start() -> Way {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let way = Way { port, state: Arc::default() };
        let open = way.clone();
        // It ends with the process.
        thread::spawn(move || {
            for here in listener.incoming().flatten() {
                open.connect(here);
            }
        });
        way
    }

    /// Passes a connection on.
    fn connect(&self, here: TcpStream) {
        let state = &mut *self.lock();
        let Ok(there) = TcpStream::connect((Ipv4Addr::LOCALHOST, state.target)) else { return };
        let ends = || Ok::<_, std::io::Error>([here.try_clone()?, there.try_clone()?]);
        let (Ok(kept), Ok([back_to, back_from])) = (ends(), ends()) else { return };
        if state.is_closed {
            return;
        }
        state.connections.push(kept);
        for (from, to) in [(here, there), (back_from, back_to)] {
            let way = self.clone();
            thread::spawn(move || way.pass(&from, &to));
        }
    }

    /// Passes on what comes until either end ends.
    fn pass(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut piece = [0; 1 << 14];
        while let Ok(size @ 1..) = from.read(&mut piece) {
            while self.lock().is_silent {
                thread::sleep(LOOK_EVERY);
            }
            if to.write_all(piece.get(..size).unwrap_or_default()).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Holds back what comes, as a network does that loses every packet, or brings it after all.
    pub(crate) fn hush(&self, is_silent: bool) {
        self.lock().is_silent = is_silent;
    }

    /// Where it leads.
    pub(crate) fn lead_to(&self, port: u16) {
        self.lock().target = port;
    }

    /// Where it begins.
    #[must_use]
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Closes it, or opens it again.
    pub(crate) fn close(&self, is_closed: bool) {
        let state = &mut *self.lock();
        state.is_closed = is_closed;
        if is_closed {
            for end in state.connections.drain(..).flatten() {
                let _ = end.shutdown(Shutdown::Both);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
