//! Changes that threads wait for, and changes that they leave, all at once.

use super::*;
use crate::store::journal::Sync;
use std::sync::Weak;
use std::sync::mpsc::{self, Sender};
use std::{env, fs};

/// A store that notes what becomes visible, in order.
#[derive(Default)]
struct Notes {
    visible: Mutex<Vec<String>>,
}

impl Store for Notes {
    fn accept(&self, state: &mut State, frame: &mut Frame) {
        frame.end("somebody", name(&state.change));
        state.outcome = Some(Outcome::Other(Ok(())));
    }

    fn publish(&self, state: &mut State) {
        lock(&self.visible).push(name(&state.change).to_owned());
    }

    fn undo(&self, _: &mut State, reason: &str) {
        panic!("{reason}");
    }
}

fn name(change: &Change) -> &str {
    let Change::Create(name) = change else { panic!("{change:?}") };
    name
}

struct Shared {
    commits: Commits,
    notes: Notes,
}

/// A change that its thread leaves; the name is sent where it is finished.
fn leave(shared: &Arc<Shared>, text: String, finished: Sender<String>) {
    let weak: Weak<Shared> = Arc::downgrade(shared);
    let finish = move |change: Change, outcome| {
        assert!(matches!(outcome, Outcome::Other(Ok(()))));
        let shared = weak.upgrade().unwrap();
        let name = name(&change).to_owned();
        assert!(lock(&shared.notes.visible).contains(&name), "first visible, then answered");
        finished.send(name).unwrap();
    };
    shared.commits.leave(Change::Create(text), &shared.notes, Box::new(finish));
}

#[test]
fn each_change_is_seen_to_once_and_those_of_a_thread_in_order() {
    const THREADS: usize = 8;
    const CHANGES: usize = 200;
    let folder = env::temp_dir().join(format!("commits-{}", process::id()));
    let (journal, _) = Journal::open(&folder, Sync::Os, |_| {}).unwrap();
    let shared = Arc::new(Shared { commits: Commits::new(journal), notes: Notes::default() });
    let clerk = Arc::clone(&shared);
    thread::spawn(move || clerk.commits.clerk(&clerk.notes));
    let (finished, all_finished) = mpsc::channel();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let (shared, finished) = (&shared, finished.clone());
            scope.spawn(move || {
                for number in 0..CHANGES {
                    let text = format!("{thread} {number}");
                    // Some threads mostly wait, some mostly leave, and all do both.
                    if number % (THREADS + 1) > thread {
                        leave(shared, text, finished.clone());
                    } else {
                        shared.commits.commit(Change::Create(text.clone()), &shared.notes);
                        assert_eq!(
                            lock(&shared.notes.visible).iter().filter(|it| **it == text).count(),
                            1
                        );
                        finished.send(text).unwrap();
                    }
                }
            });
        }
    });
    drop(finished);
    let mut all: Vec<String> = all_finished.iter().take(THREADS * CHANGES).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), THREADS * CHANGES);
    let visible = lock(&shared.notes.visible);
    for thread in 0..THREADS {
        let own: Vec<_> =
            visible.iter().filter(|it| it.starts_with(&format!("{thread} "))).collect();
        let expected: Vec<_> = (0..CHANGES).map(|number| format!("{thread} {number}")).collect();
        assert!(own.iter().copied().eq(&expected));
    }
    fs::remove_dir_all(folder).unwrap();
}
