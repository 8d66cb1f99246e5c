//! What the machine can do without a server: no server can be faster.

use crate::Result;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};
use tests::Folder;

/// One message to another thread and back over loopback, again and again, with a pause between
/// two: both threads then sleep before they are woken.
pub(crate) fn ping_pong(time: Duration, pause: Duration) -> Result<Vec<Duration>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let echo = thread::spawn(move || {
        let mut message = [0; 100];
        while server.read_exact(&mut message).is_ok() && server.write_all(&message).is_ok() {}
    });
    let mut times = Vec::new();
    let mut message = [b'x'; 100];
    let begun = Instant::now();
    while begun.elapsed() < time {
        if !pause.is_zero() {
            thread::sleep(pause);
        }
        let sent = Instant::now();
        client.write_all(&message)?;
        client.read_exact(&mut message)?;
        times.push(sent.elapsed());
    }
    drop(client);
    echo.join().expect("an echo does not panic");
    Ok(times)
}

/// So many bytes to another thread over loopback, taken in pieces: bytes a second.
pub(crate) fn loopback(size: usize, piece: usize) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut client = TcpStream::connect(listener.local_addr()?)?;
    let (mut server, _) = listener.accept()?;
    let bytes = vec![b'x'; size];
    let begun = Instant::now();
    let sender = thread::spawn(move || server.write_all(&bytes));
    let mut buffer = vec![0; piece];
    while client.read(&mut buffer)? > 0 {}
    sender.join().expect("a sender does not panic")?;
    Ok(size as f64 / begun.elapsed().as_secs_f64())
}

/// Messages of 100 bytes written and synced, so many at a time: messages a second.
pub(crate) fn write_and_sync(at_once: usize, time: Duration) -> Result<f64> {
    let folder = Folder::temporary("floor");
    let mut file = File::create(folder.path().join("file"))?;
    let block = vec![b'x'; 100 * at_once];
    let mut count = 0;
    let begun = Instant::now();
    while begun.elapsed() < time {
        file.write_all(&block)?;
        file.sync_data()?;
        count += at_once;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Messages of 100 bytes copied into memory that was not used before: messages a second.
pub(crate) fn copy(time: Duration) -> f64 {
    let message = "x".repeat(100);
    let mut kept = Vec::new();
    let begun = Instant::now();
    while begun.elapsed() < time {
        kept.extend((0..1000).map(|_| message.clone()));
    }
    kept.len() as f64 / begun.elapsed().as_secs_f64()
}
