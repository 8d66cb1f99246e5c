//! A lossy network: a proxy that cuts connections where a test says.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

/// What becomes of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Everything passes.
    Pass,
    /// It is closed before anything passes.
    Refuse,
    /// All that is asked passes; of what is answered only so many bytes do, then it is closed.
    Cut {
        /// Bytes that pass.
        answered: usize,
    },
}

/// A proxy on a port of its own, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
    /// The connections of clients, and whether they were lost without the broker's knowledge.
    clients: Arc<Mutex<Vec<Connection>>>,
}

type Connection = (Weak<TcpStream>, Arc<AtomicBool>);

impl Proxy {
    /// Passes connections on to `port` of this machine; `fate` is asked for each, in order from 0.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    #[must_use]
    pub fn start(port: u16, fate: impl Fn(usize) -> Fate + Send + 'static) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("a bound socket has an address");
        let connections = Arc::new(AtomicUsize::new(0));
        let is_over = Arc::new(AtomicBool::new(false));
        let clients = Arc::<Mutex<Vec<Connection>>>::default();
        let proxy = Proxy {
            address,
            connections: connections.clone(),
            is_over: is_over.clone(),
            clients: clients.clone(),
        };
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let fate = fate(connections.fetch_add(1, Ordering::Relaxed));
                let is_parted = Arc::<AtomicBool>::default();
                let client = Arc::new(client);
                let mut clients = clients.lock().expect("no thread panics");
                clients.retain(|(client, _)| client.strong_count() > 0);
                clients.push((Arc::downgrade(&client), Arc::clone(&is_parted)));
                drop(clients);
                thread::spawn(move || pass(&client, port, fate, &is_parted));
            }
        });
        proxy
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Loses all connections: clients see it, and the broker does not.
    ///
    /// # Panics
    ///
    /// When a thread of the proxy has panicked.
    pub fn part(&self) {
        for (client, is_parted) in self.clients.lock().expect("no thread panics").drain(..) {
            is_parted.store(true, Ordering::SeqCst);
            let _ = client.upgrade().map(|client| client.shutdown(Shutdown::Both));
        }
    }

    /// How many connections came.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts, so that it sees the end.
        drop(TcpStream::connect(self.address));
    }
}

/// Serves one connection until either side ends it, or its fate does.
fn pass(client: &TcpStream, port: u16, fate: Fate, is_parted: &AtomicBool) {
    let left = match fate {
        Fate::Refuse => return,
        Fate::Pass => usize::MAX,
        Fate::Cut { answered } => answered,
    };
    let Ok(broker) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
    thread::scope(|scope| {
        scope.spawn(|| {
            copy(client, &broker, usize::MAX);
            if !is_parted.load(Ordering::SeqCst) {
                let _ = broker.shutdown(Shutdown::Write);
            }
        });
        copy(&broker, client, left);
        if is_parted.load(Ordering::SeqCst) {
            // Until the broker has had enough of it.
            let _ = io::copy(&mut &broker, &mut io::sink());
        }
        // Wakes the other direction, which reads from the client.
        let _ = client.shutdown(Shutdown::Both);
        let _ = broker.shutdown(Shutdown::Both);
    });
}

/// Copies until the end of either, or until more than `left` bytes came: the rest is lost.
fn copy(mut from: &TcpStream, mut to: &TcpStream, mut left: usize) {
    let mut piece = [0; 1 << 14];
    while let Ok(size @ 1..) = from.read(&mut piece) {
        let passed = size.min(left);
        let sent = to.write_all(piece.get(..passed).unwrap_or_default());
        left -= passed;
        if sent.is_err() || passed < size {
            return;
        }
    }
}
