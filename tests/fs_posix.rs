//! The simulated filesystem against a real one: random calls on both must succeed or fail alike,
//! with the same error numbers, and leave the same tree behind.
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests are no part of a run"
)]
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use proptest::prelude::*;
use shakedown::world::fs::{FileKind, FileSystem, Limits};
use shakedown_cri::ports::{Errno, FsError};

const OWNER: u32 = 1;

#[derive(Clone, Debug)]
enum Call {
    MakeDir(String),
    MakeDirAll(String),
    Append(String, Vec<u8>),
    WriteFile(String, Vec<u8>),
    ReadFile(String),
    Rename(String, String),
    RemoveFile(String),
    RemoveDir(String),
}

/// Paths over few names, so that calls meet each other's files; with the odd forms that resolution
/// has rules for.
fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        8 => prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec![".", "..", ""]).prop_map(str::to_owned),
    ];
    let long = Just(vec!["a".to_owned(), "n".repeat(256)]);
    let names = prop_oneof![40 => prop::collection::vec(name, 1..4), 1 => long];
    (names, prop::bool::weighted(0.1)).prop_map(|(names, slash)| {
        // Below `/r/r/r`, `..` cannot climb out of the temporary directory of the real one.
        format!("/r/r/r/{}{}", names.join("/"), if slash { "/" } else { "" })
    })
}

fn call() -> impl Strategy<Value = Call> {
    let data = || prop::collection::vec(any::<u8>(), 0..4);
    prop_oneof![
        4 => path().prop_map(Call::MakeDir),
        2 => path().prop_map(Call::MakeDirAll),
        3 => (path(), data()).prop_map(|(path, data)| Call::Append(path, data)),
        2 => (path(), data()).prop_map(|(path, data)| Call::WriteFile(path, data)),
        2 => path().prop_map(Call::ReadFile),
        5 => (path(), path()).prop_map(|(from, to)| Call::Rename(from, to)),
        2 => path().prop_map(Call::RemoveFile),
        2 => path().prop_map(Call::RemoveDir),
    ]
}

fn simulated(fs: &mut FileSystem, call: &Call) -> Result<Vec<u8>, FsError> {
    let nothing = |()| Vec::new();
    match call {
        Call::MakeDir(path) => fs.make_dir(path, 0o755).map(nothing),
        Call::MakeDirAll(path) => fs.make_dir_all(path, 0o755).map(nothing),
        Call::Append(path, data) => {
            let fd = fs.open_append(OWNER, path, 0o644)?;
            fs.write(fd, data)?;
            fs.close(fd).map(nothing)
        }
        Call::WriteFile(path, data) => fs.write_file(path, data, 0o644).map(nothing),
        Call::ReadFile(path) => fs.read_file(OWNER, path),
        Call::Rename(from, to) => fs.rename(from, to).map(nothing),
        Call::RemoveFile(path) => fs.remove_file(path).map(nothing),
        Call::RemoveDir(path) => fs.remove_dir(path).map(nothing),
    }
}

/// Joins without `Path::join`, which drops what resolution has to see.
fn under(root: &Path, path: &str) -> String {
    format!("{}{path}", root.display())
}

fn real(root: &Path, call: &Call) -> io::Result<Vec<u8>> {
    let nothing = |()| Vec::new();
    match call {
        Call::MakeDir(path) => {
            fs::DirBuilder::new().mode(0o755).create(under(root, path)).map(nothing)
        }
        Call::MakeDirAll(path) => {
            let mut done = root.display().to_string();
            for name in path.split('/').filter(|name| !name.is_empty()) {
                done = format!("{done}/{name}");
                match fs::create_dir(&done) {
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                        if !fs::metadata(&done)?.is_dir() {
                            return Err(io::Error::from_raw_os_error(number(Errno::ENOTDIR)));
                        }
                    }
                    result => result?,
                }
            }
            Ok(Vec::new())
        }
        Call::Append(path, data) => {
            let mut options = OpenOptions::new();
            let mut file = options.append(true).create(true).mode(0o644).open(under(root, path))?;
            file.write_all(data).map(nothing)
        }
        Call::WriteFile(path, data) => fs::write(under(root, path), data).map(nothing),
        Call::ReadFile(path) => fs::read(under(root, path)),
        Call::Rename(from, to) => fs::rename(under(root, from), under(root, to)).map(nothing),
        Call::RemoveFile(path) => fs::remove_file(under(root, path)).map(nothing),
        Call::RemoveDir(path) => fs::remove_dir(under(root, path)).map(nothing),
    }
}

fn number(errno: Errno) -> i32 {
    match errno {
        Errno::EPERM => 1,
        Errno::ENOENT => 2,
        Errno::EACCES => 13,
        Errno::EBUSY => 16,
        Errno::EEXIST => 17,
        Errno::ENOTDIR => 20,
        Errno::EISDIR => 21,
        Errno::EINVAL => 22,
        Errno::ENAMETOOLONG => 36,
        Errno::ENOTEMPTY => 39,
        other => panic!("{} is not expected here", other.name()),
    }
}

type Tree = BTreeMap<String, (FileKind, Option<Vec<u8>>)>;

fn real_tree(root: &Path, path: &str, tree: &mut Tree) {
    let full = under(root, path);
    let kind = fs::symlink_metadata(&full).expect("listed").file_type();
    if kind.is_dir() {
        tree.insert(path.to_owned(), (FileKind::Directory, None));
        for entry in fs::read_dir(&full).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            real_tree(root, &format!("{path}/{}", name.to_string_lossy()), tree);
        }
    } else {
        assert!(!kind.is_fifo());
        let content = fs::read(&full).expect("a file");
        tree.insert(path.to_owned(), (FileKind::Regular, Some(content)));
    }
}

fn simulated_tree(fs: &FileSystem) -> Tree {
    fs.walk("/r")
        .map(|entry| {
            let content = fs.content(&entry.path).map(<[u8]>::to_vec);
            (entry.path, (entry.kind, content))
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_kernel(calls in prop::collection::vec(call(), 1..60)) {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(under(root.path(), "/r/r/r")).unwrap();
        let mut fs = FileSystem::new(Limits::default());
        fs.make_dir_all("/r/r/r", 0o755).unwrap();
        for call in &calls {
            let expected = real(root.path(), call).map_err(|error| error.raw_os_error());
            let got = simulated(&mut fs, call)
                .map_err(|error| error.errno().map(number));
            prop_assert_eq!(got, expected, "{:?}", call);
        }
        let mut tree = Tree::new();
        real_tree(root.path(), "/r", &mut tree);
        let bytes: usize = tree.values().map(|(_, content)| content.as_ref().map_or(0, Vec::len)).sum();
        prop_assert_eq!(simulated_tree(&fs), tree);
        prop_assert_eq!(fs.bytes_used(), bytes as u64);
        prop_assert_eq!(fs.open_count(OWNER), 0);
        fs.remove_tree("/r").unwrap();
        prop_assert_eq!(fs.walk("/").count(), 1);
        prop_assert_eq!(fs.bytes_used(), 0);
    }
}
