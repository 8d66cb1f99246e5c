//! The size of a server that has nothing to do.

use super::Setting;
use crate::peers::{Disk, Kind, Server};
use crate::report::{Column, Table, Unit, alternate};
use std::fs;
use std::time::Instant;
use tests::resources::Resources;

/// Row `footprint`. A program's size is that of its file; the libraries that it shares with others
/// are not counted.
pub(super) fn of_each(setting: &Setting<'_>) -> Table {
    let mut table = Table::new("footprint", "a server that has nothing to do");
    table.headline = None;
    table.columns = vec![
        Column::new("program", Unit::Bytes),
        Column::new("memory", Unit::Bytes),
        Column::new("until it accepts a connection", Unit::Seconds),
    ];
    let kinds = [Kind::Json, Kind::RedisPubSub, Kind::NatsCore, Kind::Mosquitto, Kind::BareJson(1)];
    table
        .notes
        .push("no floor of a program's size: the bare server is part of this one".to_owned());
    alternate(&setting.plan, &mut table, &setting.of(&kinds), Disk::None, |contender| {
        let size = match contender.kind.is_floor() {
            true => f64::NAN,
            false => fs::metadata(&contender.program)?.len() as f64,
        };
        let begun = Instant::now();
        let server = Server::start(contender, Disk::None)?;
        let elapsed = begun.elapsed().as_secs_f64();
        let memory = Resources::of(server.process.id()).memory;
        Ok(vec![size, memory as f64, elapsed])
    });
    table
}
