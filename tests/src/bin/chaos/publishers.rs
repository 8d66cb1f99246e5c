//! The program `publisher` in two of its forms, started again and again.

use std::time::{Duration, Instant};
use tests::{Folder, Load, Process, System, checker, program};

/// Messages of one run from the command line.
const RUN: usize = 50;

/// Lines of one file, which are more than goes into one publish.
const LINES: usize = 1500;

/// Bytes of a line.
const LINE_SIZE: usize = 90;

/// Between two files.
const PAUSE: Duration = Duration::from_secs(1);

/// Messages from the command line. Each run has a name of its own, because what a killed one sent
/// last may be stored when the next one runs already.
pub(crate) struct ProgramPublisher {
    topic: &'static str,
    runs: u64,
    values: Vec<String>,
    process: Option<Process>,
}

impl ProgramPublisher {
    /// A publisher to this topic that has not begun.
    pub(crate) fn new(topic: &'static str) -> ProgramPublisher {
        ProgramPublisher { topic, runs: 0, values: Vec::new(), process: None }
    }

    /// Begins a new run, if the last one has ended.
    pub(crate) fn go_on(&mut self, system: &System, load: &Load) {
        if self.process.as_mut().is_some_and(Process::is_running) {
            return;
        }
        self.end(load);
        self.values = values("program", self.topic, self.runs, RUN, 0);
        self.runs += 1;
        tell_sent(load, self.topic, &self.values);
        let mut command = program::command("publisher");
        command.args(["--wait", "60", "--topic", self.topic]).args(&self.values);
        system.introduce(&mut command);
        let folder = Folder::temporary("publisher");
        self.process = Some(Process::start("publisher", command, &folder));
    }

    /// Waits for the end of a run. What a run published that did not fail is acknowledged.
    pub(crate) fn end(&mut self, load: &Load) {
        let Some(mut process) = self.process.take() else { return };
        if ended_well(&mut process) {
            tell_acknowledged(load, self.topic, &self.values);
        }
    }

    /// Kills it, if it runs.
    pub(crate) fn kill(&mut self) -> bool {
        self.process.as_mut().is_some_and(kill)
    }
}

/// One file after another. A run that was killed is repeated with the same id and file until it
/// succeeds: then each line is there, once and in order.
pub(crate) struct FilePublisher {
    topic: &'static str,
    files: u64,
    values: Vec<String>,
    folder: Folder,
    process: Option<Process>,
    /// When the last file was done.
    done: Instant,
}

impl FilePublisher {
    /// A publisher to this topic that has not begun.
    pub(crate) fn new(topic: &'static str) -> FilePublisher {
        let folder = Folder::temporary("publisher");
        let (values, done) = (Vec::new(), Instant::now());
        FilePublisher { topic, files: 0, values, folder, process: None, done }
    }

    /// Begins the next file, or goes on with the last one where its publisher was killed.
    pub(crate) fn go_on(&mut self, system: &System, load: &Load) {
        if let Some(process) = &mut self.process {
            if process.is_running() {
                return;
            }
            if !ended_well(process) {
                self.start(system);
                return;
            }
            tell_acknowledged(load, self.topic, &self.values);
            self.process = None;
            self.done = Instant::now();
        }
        if self.done.elapsed() >= PAUSE {
            self.values = values("file", self.topic, self.files, LINES, LINE_SIZE);
            self.files += 1;
            tell_sent(load, self.topic, &self.values);
            self.folder.write("file.txt", self.values.join("\n"));
            self.start(system);
        }
    }

    fn start(&mut self, system: &System) {
        let mut command = program::command("publisher");
        // A file of its own id each: under an id that is known, a file has to go on as before.
        let id = format!("file-{}", self.files);
        command.args(["--wait", "60", "--topic", self.topic, "--file", "file.txt", &id]);
        system.introduce(&mut command);
        self.process = Some(Process::start("publisher", command, &self.folder));
    }

    /// Sees to it that the last file is there whole.
    pub(crate) fn end(&mut self, system: &System, load: &Load) {
        while let Some(process) = &mut self.process {
            process.wait();
            self.go_on(system, load);
        }
    }

    /// Kills it, if it runs.
    pub(crate) fn kill(&mut self) -> bool {
        self.process.as_mut().is_some_and(kill)
    }
}

/// The values of one run.
fn values(kind: &str, topic: &str, run: u64, count: usize, size: usize) -> Vec<String> {
    let name = format!("{kind} {topic} {run}");
    (0..count as u64).map(|number| checker::value(&name, number, size)).collect()
}

fn tell_sent(load: &Load, topic: &str, values: &[String]) {
    load.with_checker(|checker| values.iter().for_each(|value| checker.sent(topic, value)));
}

fn tell_acknowledged(load: &Load, topic: &str, values: &[String]) {
    load.with_checker(|checker| {
        values.iter().for_each(|value| checker.acknowledged(topic, value, None));
    });
}

/// Waits for the end of a publisher; whether it published everything. Nothing but a kill may keep
/// it from that.
fn ended_well(process: &mut Process) -> bool {
    let status = process.wait();
    assert!(status.success() || status.code().is_none(), "{status}: {}", process.errors());
    status.success()
}

/// Kills a process; whether it ran.
fn kill(process: &mut Process) -> bool {
    let is_running = process.is_running();
    process.kill();
    is_running
}
