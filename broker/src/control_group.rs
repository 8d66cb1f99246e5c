//! The limits of the control groups that the process is in: its own and all above it.
//!
//! Version 1 has a tree for each controller, version 2 has one tree. The limit of a service or a
//! container is at its own group or further up, not necessarily at the top.

use std::fs;
use std::path::{Path, PathBuf};

/// The least limit of a controller. `file` has it in the second version, `old_file` in the first.
pub(crate) fn least(controller: &str, file: &str, old_file: &str) -> Option<u64> {
    least_under(Path::new("/"), controller, file, old_file)
}

fn least_under(root: &Path, controller: &str, file: &str, old_file: &str) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let (groups, mounts) = (read("proc/self/cgroup"), read("proc/self/mountinfo"));
    let mut limits = Vec::new();
    for mount in mounts.lines().filter_map(Mount::of) {
        let file = match mount.kind {
            "cgroup2" => file,
            "cgroup" if mount.options.split(',').any(|option| option == controller) => old_file,
            _ => continue,
        };
        let Some(group) = group_of(&groups, mount.kind, controller) else { continue };
        let top = root.join(mount.point.trim_start_matches('/'));
        // Where the mount shows another part of the tree, its top is all that can be seen.
        let below = group.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or_default();
        let own: PathBuf = top.join(below.trim_start_matches('/'));
        for folder in own.ancestors().take_while(|folder| folder.starts_with(&top)) {
            let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
            // No limit is the word `max`, or nothing at the top.
            limits.extend(text.trim().parse::<u64>());
        }
    }
    limits.into_iter().min()
}

/// The group of the process in the tree of a controller: `id:controllers:path`.
fn group_of<'g>(groups: &'g str, kind: &str, controller: &str) -> Option<&'g str> {
    groups.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_here = match kind {
            "cgroup2" => controllers.is_empty(),
            _ => controllers.split(',').any(|name| name == controller),
        };
        is_here.then_some(path)
    })
}

/// A line of `mountinfo`.
struct Mount<'m> {
    /// The part of the file system that is shown.
    root: &'m str,
    /// Where it is shown.
    point: &'m str,
    kind: &'m str,
    options: &'m str,
}

impl<'m> Mount<'m> {
    fn of(line: &'m str) -> Option<Mount<'m>> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let mut file_system = file_system.split(' ');
        let (root, point) = (mount.next()?, mount.next()?);
        Some(Mount { root, point, kind: file_system.next()?, options: file_system.nth(1)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{env, process};

    /// The least limit of memory on a machine with these files.
    fn least_memory(name: &str, files: &[(&str, &str)]) -> Option<u64> {
        let root = env::temp_dir().join(format!("control-group-{name}-{}", process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let least = least_under(&root, "memory", "memory.max", "memory.limit_in_bytes");
        fs::remove_dir_all(root).unwrap();
        least
    }

    const MOUNT: (&str, &str) = (
        "proc/self/mountinfo",
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
         30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
    );

    #[test]
    fn the_least_limit_of_a_service_and_of_the_slices_above_it_counts() {
        let own = ("proc/self/cgroup", "0::/system.slice/broker.service\n");
        let service = "sys/fs/cgroup/system.slice/broker.service/memory.max";
        let slice = "sys/fs/cgroup/system.slice/memory.max";
        let other = ("sys/fs/cgroup/other.slice/memory.max", "1\n");
        let files = [MOUNT, own, (service, "300\n"), (slice, "max\n"), other];
        assert_eq!(least_memory("service", &files), Some(300));
        let files = [MOUNT, own, (service, "max\n"), (slice, "200\n"), other];
        assert_eq!(least_memory("slice", &files), Some(200));
        let files = [MOUNT, own, (service, "max\n"), (slice, "max\n"), other];
        assert_eq!(least_memory("none", &files), None);
    }

    #[test]
    fn a_container_sees_its_group_as_the_top() {
        let limit = ("sys/fs/cgroup/memory.max", "400\n");
        let own = ("proc/self/cgroup", "0::/\n");
        assert_eq!(least_memory("container", &[MOUNT, own, limit]), Some(400));
        // A group that the mount does not show.
        let own = ("proc/self/cgroup", "0::/../other\n");
        assert_eq!(least_memory("elsewhere", &[MOUNT, own, limit]), Some(400));
    }

    #[test]
    fn the_first_version_has_a_tree_for_each_controller() {
        let mounts = (
            "proc/self/mountinfo",
            "30 22 0:26 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
             31 22 0:27 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n",
        );
        let groups = ("proc/self/cgroup", "5:memory:/docker/abc/inner\n4:pids:/docker/abc\n");
        let top = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        let inner = ("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "500\n");
        assert_eq!(least_memory("first", &[mounts, groups, top, inner]), Some(500));
    }
}
