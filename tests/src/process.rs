//! One running program.

use crate::folder::Folder;
use crate::wait::{DEADLINE, wait_for};
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

/// The files in its folder that take what a process prints.
const OUTPUT: &str = "stdout.txt";
const ERRORS: &str = "stderr.txt";

/// A process that runs in a folder of its own and ends with this value.
///
/// What it prints goes to files in the folder, so that it is never held up by a reader.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    folder: Folder,
    /// How long the two files were when it started: its folder may have seen others before.
    skipped: (usize, usize),
}

impl Process {
    /// Starts `command` in `folder`; `name` is for people who read a failing test.
    ///
    /// Its standard input is what the command says, else empty.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start(name: &str, command: Command, folder: &Folder) -> Process {
        Process::spawn(name, command, folder, Stdio::null())
    }

    /// Starts `command` as [`Process::start`] does, but with a pipe for [`Process::write`].
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    #[must_use]
    pub fn start_with_input(name: &str, command: Command, folder: &Folder) -> Process {
        Process::spawn(name, command, folder, Stdio::piped())
    }

    fn spawn(name: &str, mut command: Command, folder: &Folder, input: Stdio) -> Process {
        let append = |file| {
            let path = folder.path().join(file);
            File::options().create(true).append(true).open(path).expect("the folder is there")
        };
        let skipped = (folder.read(OUTPUT).len(), folder.read(ERRORS).len());
        let child = command
            .current_dir(folder.path())
            .stdin(input)
            .stdout(append(OUTPUT))
            .stderr(append(ERRORS))
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Process { name: name.to_owned(), child, folder: folder.clone(), skipped }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The folder that it runs in.
    #[must_use]
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What it has printed so far on standard output.
    #[must_use]
    pub fn output(&self) -> String {
        text(&self.folder.read(OUTPUT), self.skipped.0)
    }

    /// The lines of it that have ended.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let output = self.output();
        let whole = output.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        whole.map(str::to_owned).collect()
    }

    /// What it has printed so far on standard error.
    #[must_use]
    pub fn errors(&self) -> String {
        text(&self.folder.read(ERRORS), self.skipped.1)
    }

    /// Waits for the first whole line of its standard output.
    ///
    /// # Panics
    ///
    /// When it ends without one, or takes longer than [`DEADLINE`].
    #[track_caller]
    pub fn first_line(&mut self) -> String {
        let what = format!("the first line of {}", self.name);
        wait_for(DEADLINE, &what, || {
            let ended = !self.is_running();
            let line = self.output().split_once('\n').map(|(line, _)| line.to_owned());
            assert!(line.is_some() || !ended, "{} ended without a line", self.name);
            line
        })
    }

    /// Whether it has not ended.
    ///
    /// # Panics
    ///
    /// When the system does not know.
    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("the child was not waited for elsewhere").is_none()
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// When it takes longer than [`DEADLINE`].
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait_for(DEADLINE, &what, || self.child.try_wait().expect("only waited for here"))
    }

    /// Waits for its end, which has to be a good one.
    ///
    /// # Panics
    ///
    /// When it fails, or takes longer than [`DEADLINE`].
    #[track_caller]
    pub fn succeed(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{} ended with {status}", self.name);
    }

    /// Kills it at once, as `kill -9` does, and waits until it is gone.
    ///
    /// # Panics
    ///
    /// When the system does not let go of it.
    pub fn kill(&mut self) {
        // It may have ended by itself, which is as good.
        let _ = self.child.kill();
        self.child.wait().expect("a killed process ends");
    }

    /// Sends it a signal by name, such as `TERM`; for `STOP` there is [`Stopped`](crate::Stopped).
    ///
    /// # Panics
    ///
    /// When there is no shell to do it.
    pub fn signal(&self, name: &str) {
        send_signal(self.id(), name);
    }

    /// Writes to its standard input.
    ///
    /// # Panics
    ///
    /// When it has none, or no longer reads it.
    pub fn write(&mut self, text: &str) {
        self.write_bytes(text.as_bytes());
    }

    /// Writes to its standard input what need not be text.
    ///
    /// # Panics
    ///
    /// As [`Process::write`].
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        let input = self.child.stdin.as_mut().expect("started with an input that is still open");
        input.write_all(bytes).expect("the process reads its input");
    }

    /// Ends its standard input.
    pub fn end_input(&mut self) {
        drop(self.child.stdin.take());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let (name, folder) = (&self.name, self.folder.path().display());
            eprintln!("--- {name}, in {folder}, printed:\n{}", self.output());
            eprintln!("--- and on standard error:\n{}---", self.errors());
        }
    }
}

/// Sends a signal to the process `id`. It may have ended: then there is nobody to send to.
pub(crate) fn send_signal(id: u32, name: &str) {
    let _ = Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$1\" 2>/dev/null", name, &id.to_string()])
        .status()
        .expect("there is a shell");
}

/// What a file holds from `skipped` on.
fn text(bytes: &[u8], skipped: usize) -> String {
    String::from_utf8_lossy(bytes.get(skipped..).unwrap_or_default()).into_owned()
}
