use shakedown_cri::ports::{Errno, FifoEnd, FsCause, FsError};

use super::*;

const DAEMON: u32 = 1;
const SHIM: u32 = 1000;

fn fs() -> FileSystem {
    FileSystem::new(Limits::default())
}

fn put(fs: &mut FileSystem, path: &str, content: &[u8]) {
    fs.write_file(path, content, 0o644).expect("room and permission");
}

fn text<T: fmt::Debug>(result: Result<T, FsError>) -> String {
    result.expect_err("a refusal").to_string()
}

fn paths(fs: &FileSystem, prefix: &str) -> Vec<String> {
    fs.walk(prefix).map(|entry| entry.path).collect()
}

/// `/d` with the file `f`, the empty directory `empty` and the directory `full` with a file.
fn populated() -> FileSystem {
    let mut fs = fs();
    fs.make_dir_all("/d/full", 0o755).unwrap();
    fs.make_dir("/d/empty", 0o755).unwrap();
    put(&mut fs, "/d/f", b"f");
    put(&mut fs, "/d/full/g", b"g");
    fs
}

#[test]
fn refusals_are_those_of_posix_worded_as_by_go() {
    let long = format!("/d/{}", "n".repeat(256));
    let deep = "/d".repeat(2048);
    let mut fs = populated();
    let table = [
        (text(fs.make_dir("/d", 0o755)), "mkdir /d: file exists"),
        (text(fs.make_dir("/", 0o755)), "mkdir /: file exists"),
        (text(fs.make_dir("/d/.", 0o755)), "mkdir /d/.: file exists"),
        (text(fs.make_dir("/no/x", 0o755)), "mkdir /no/x: no such file or directory"),
        (text(fs.make_dir("/d/f/x", 0o755)), "mkdir /d/f/x: not a directory"),
        (text(fs.make_dir("/d/no/../x", 0o755)), "mkdir /d/no/../x: no such file or directory"),
        (text(fs.make_dir_all("/d/f", 0o755)), "mkdir /d/f: not a directory"),
        (text(fs.make_dir_all("/d/f/x/y", 0o755)), "mkdir /d/f: not a directory"),
        (text(fs.make_dir_all("//d//f/x", 0o755)), "mkdir //d//f: not a directory"),
        (text(fs.make_temp_dir("/no")), "stat /no: no such file or directory"),
        (text(fs.make_temp_dir("/d/f")), "mkdir /d/f/2: not a directory"),
        (text(fs.create_temp(1, "/no", ".t")), "open /no/.t3: no such file or directory"),
        (text(fs.open_append(1, "/d/full", 0o640)), "open /d/full: is a directory"),
        (text(fs.open_append(1, "/d/new/", 0o640)), "open /d/new/: is a directory"),
        (text(fs.open_append(1, "/d/f/x", 0o640)), "open /d/f/x: not a directory"),
        (text(fs.open_append(1, "/no/x", 0o640)), "open /no/x: no such file or directory"),
        (text(fs.open_append(1, "", 0o640)), "open : no such file or directory"),
        (text(fs.open_append(1, "/a\0b", 0o640)), "open /a\0b: invalid argument"),
        (text(fs.read_file(1, "/d/no")), "open /d/no: no such file or directory"),
        (text(fs.read_file(1, "/d/f/")), "open /d/f/: not a directory"),
        (text(fs.read_file(1, "/d")), "read /d: is a directory"),
        (text(fs.set_mode("/d/no", 0o600)), "chmod /d/no: no such file or directory"),
        (text(fs.metadata("/d/no")), "stat /d/no: no such file or directory"),
        (text(fs.remove_file("/d/no")), "remove /d/no: no such file or directory"),
        (text(fs.remove_file("/d/empty")), "remove /d/empty: is a directory"),
        (text(fs.remove_file("/d/f/")), "remove /d/f/: not a directory"),
        (text(fs.remove_dir("/d/f")), "remove /d/f: not a directory"),
        (text(fs.remove_dir("/d/full")), "remove /d/full: directory not empty"),
        (text(fs.remove_dir("/d/full/.")), "remove /d/full/.: invalid argument"),
        (text(fs.remove_dir("/")), "remove /: device or resource busy"),
        (text(fs.remove_tree("/d/f/x")), "unlinkat /d/f/x: not a directory"),
        (text(fs.remove_tree("/d/f/x/y")), "open /d/f/x: not a directory"),
        (text(fs.remove_tree("/d/.")), "RemoveAll /d/.: invalid argument"),
        (text(fs.remove_tree("/")), "unlinkat /: device or resource busy"),
        (text(fs.rename("/d/no", "/d/x")), "rename /d/no /d/x: no such file or directory"),
        (text(fs.rename("/d/f", "/no/x")), "rename /d/f /no/x: no such file or directory"),
        (text(fs.rename("/d/f", "/d/empty")), "rename /d/f /d/empty: is a directory"),
        (text(fs.rename("/d/empty", "/d/f")), "rename /d/empty /d/f: not a directory"),
        (text(fs.rename("/d/empty", "/d/full")), "rename /d/empty /d/full: directory not empty"),
        (text(fs.rename("/d", "/d/full/x")), "rename /d /d/full/x: invalid argument"),
        (text(fs.rename("/d/full/g", "/d")), "rename /d/full/g /d: directory not empty"),
        (text(fs.rename("/d/f", "/d/x/")), "rename /d/f /d/x/: not a directory"),
        (text(fs.rename("/", "/x")), "rename / /x: device or resource busy"),
    ];
    for (got, expected) in table {
        assert_eq!(got, expected);
    }
    assert!(fs.make_dir(&long, 0o755).unwrap_err().is(Errno::ENAMETOOLONG));
    assert!(fs.make_dir_all(&long, 0o755).unwrap_err().is(Errno::ENAMETOOLONG));
    let below = fs.make_dir_all(&format!("{long}/x"), 0o755).unwrap_err();
    assert_eq!((below.errno(), below.path), (Some(Errno::ENAMETOOLONG), long));
    assert!(fs.make_dir_all("", 0o755).unwrap_err().is(Errno::ENOENT));
    assert!(fs.make_dir_all(&deep, 0o755).unwrap_err().is(Errno::ENAMETOOLONG));
    assert_eq!(paths(&fs, "/"), ["/", "/d", "/d/empty", "/d/f", "/d/full", "/d/full/g"]);
    assert_eq!(fs.open_count(1), 0);
}

#[test]
fn paths_are_resolved_component_by_component() {
    let mut fs = populated();
    assert!(fs.exists("//d/./full/..//f"));
    assert!(fs.exists("d/f"), "relative paths start at the root");
    assert!(fs.exists("/../../d"));
    assert!(!fs.exists("/d/f/.."), "a file has no parent to go to");
    fs.make_dir_all("/d/new/../newer/", 0o700).unwrap();
    assert!(fs.exists("/d/new") && fs.exists("/d/newer"));
}

#[test]
fn a_path_that_was_resolved_before_is_resolved_anew_after_a_change() {
    let mut fs = populated();
    assert!(fs.exists("/d/full/g"));
    fs.set_mode("/d", 0o600).unwrap();
    assert!(fs.read_file(DAEMON, "/d/full/g").unwrap_err().is(Errno::EACCES));
    fs.set_mode("/d", 0o700).unwrap();
    fs.make_dir("/d/full/sub", 0o755).unwrap();
    assert!(fs.exists("/d/full/sub/../g"));
    fs.rename("/d", "/e").unwrap();
    assert!(!fs.exists("/d/full/g") && fs.exists("/e/full/g"));
    fs.remove_dir("/e/full/sub").unwrap();
    assert!(!fs.exists("/e/full/sub/../g"));
    fs.mount("/e", 0o755).unwrap();
    assert!(!fs.exists("/e/full/g"));
    fs.unmount("/e").unwrap();
    assert!(fs.exists("/e/full/g"));
}

#[test]
fn rename_replaces_files_and_empty_directories() {
    let mut fs = populated();
    put(&mut fs, "/d/old", b"new content");
    fs.rename("/d/old", "/d/f").unwrap();
    assert_eq!(fs.read_file(DAEMON, "/d/f").unwrap(), b"new content");
    assert!(!fs.exists("/d/old"));
    assert_eq!(fs.bytes_used(), 12, "the replaced content is freed");

    fs.rename("/d/full", "/d/empty").unwrap();
    assert_eq!(paths(&fs, "/d"), ["/d", "/d/empty", "/d/empty/g", "/d/f"]);
    assert!(fs.exists("/d/empty/../f"), "the moved directory has its new parent");
    let before = fs.digest();
    fs.rename("/d/f", "/d/f").unwrap();
    assert_eq!(fs.digest(), before);
}

#[test]
fn no_space_means_a_short_write_then_enospc_until_something_is_freed() {
    let mut fs = FileSystem::new(Limits { bytes_max: 10, ..Limits::default() });
    let (fd, path) = fs.create_temp(DAEMON, "/", ".tmp-status").unwrap();
    assert_eq!(fs.write(fd, b"12345678").unwrap(), 8);
    assert_eq!(fs.write(fd, b"abcdef").unwrap(), 2);
    assert_eq!(text(fs.write(fd, b"x")), "write /.tmp-status1: no space left on device");
    assert_eq!(fs.write(fd, b"").unwrap(), 0);
    assert_eq!(fs.read_file(DAEMON, &path).unwrap(), b"12345678ab");

    fs.remove_file(&path).unwrap();
    assert_eq!(fs.bytes_used(), 10, "the descriptor keeps the content");
    fs.close(fd).unwrap();
    assert_eq!(fs.bytes_used(), 0);
    assert_eq!(
        text(fs.write_file("/f", b"0123456789a", 0o644)),
        "write /f: no space left on device"
    );
    fs.write_file("/f", b"0123456789", 0o644).unwrap();

    fs.set_limits(Limits { bytes_max: 4, ..Limits::default() });
    let fd = fs.open_append(DAEMON, "/f", 0o644).unwrap();
    assert!(fs.write(fd, b"x").unwrap_err().is(Errno::ENOSPC));
    fs.set_limits(Limits { inodes_max: 2, ..Limits::default() });
    assert!(fs.make_dir("/x", 0o755).unwrap_err().is(Errno::ENOSPC));
    assert_eq!(text(fs.create_temp(DAEMON, "/", "t")), "open /t2: no space left on device");
    fs.close(fd).unwrap();
    fs.remove_file("/f").unwrap();
    fs.make_dir("/x", 0o755).unwrap();
}

#[test]
fn nothing_changes_at_or_below_a_read_only_directory() {
    let mut fs = populated();
    let fd = fs.open_append(DAEMON, "/d/full/g", 0o644).unwrap();
    fs.set_read_only("/d/full", true).unwrap();
    let refused = [
        fs.make_dir("/d/full/x", 0o755),
        fs.make_dir_all("/d/full/x/y", 0o755),
        fs.make_temp_dir("/d/full").map(drop),
        fs.create_temp(DAEMON, "/d/full", "t").map(drop),
        fs.open_append(DAEMON, "/d/full/g", 0o644).map(drop),
        fs.open_append(DAEMON, "/d/full/x", 0o644).map(drop),
        fs.write(fd, b"x").map(drop),
        fs.set_mode("/d/full/g", 0o600),
        fs.rename("/d/full/g", "/d/g"),
        fs.rename("/d/f", "/d/full/f"),
        fs.rename("/d/full", "/d/moved"),
        fs.remove_file("/d/full/g"),
        fs.remove_tree("/d/full"),
        fs.remove_dir("/d/full"),
        fs.make_fifo("/d/full/p", 0o700),
        fs.write_file("/d/full/g", b"x", 0o644),
    ];
    for result in refused {
        assert!(result.unwrap_err().is(Errno::EROFS));
    }
    assert!(fs.make_dir("/d/full", 0o755).unwrap_err().is(Errno::EEXIST));
    fs.make_dir_all("/d/full", 0o755).unwrap();
    fs.remove_tree("/d/full/missing").unwrap();
    assert_eq!(fs.read_file(DAEMON, "/d/full/g").unwrap(), b"g");
    fs.make_dir("/d/x", 0o755).unwrap();

    fs.set_read_only("/", true).unwrap();
    assert_eq!(text(fs.make_dir("/x", 0o755)), "mkdir /x: read-only file system");
    fs.set_read_only("/", false).unwrap();
    fs.set_read_only("/d/full", false).unwrap();
    fs.write(fd, b"x").unwrap();
    fs.remove_tree("/d").unwrap();
}

#[test]
fn descriptors_are_limited_and_listed_by_owner() {
    let mut fs = FileSystem::new(Limits { open_max: 2, ..Limits::default() });
    let log = fs.open_append(DAEMON, "/log", 0o640).unwrap();
    let pipe = fs.open_fifo(DAEMON, "/pipe", FifoEnd::Read).unwrap();
    assert_eq!(text(fs.create_temp(DAEMON, "/", "t")), "open /t1: too many open files");
    assert!(fs.open_append(DAEMON, "/new", 0o640).unwrap_err().is(Errno::EMFILE));
    assert!(!fs.exists("/new"), "nothing is made without a descriptor for it");
    assert!(fs.read_file(DAEMON, "/log").unwrap_err().is(Errno::EMFILE));
    assert!(fs.open_fifo_both(DAEMON, "/pipe").unwrap_err().is(Errno::EMFILE));
    let other = fs.open_append(SHIM, "/log", 0o640).unwrap();
    fs.remove_file("/log").unwrap();

    let open: Vec<_> = fs.open_fds(DAEMON).collect();
    let file = OpenFd { path: "/log", kind: FileKind::Regular, opening: false, removed: true };
    let fifo = OpenFd { path: "/pipe", kind: FileKind::Fifo, opening: true, removed: false };
    assert_eq!(open, [file, fifo]);
    fs.close_all(DAEMON);
    assert_eq!((fs.open_count(DAEMON), fs.open_count(SHIM)), (0, 1));

    // A stale descriptor must not reach what is in its slot now.
    let reused = fs.open_append(DAEMON, "/next", 0o640).unwrap();
    assert_eq!(fs.write(log, b"x").unwrap_err().cause, FsCause::Closed);
    assert_eq!(fs.close(log).unwrap_err().cause, FsCause::Closed);
    assert_eq!(fs.fifo_read(pipe), FifoRead::Closed);
    fs.write(reused, b"x").unwrap();
    fs.close(reused).unwrap();
    fs.close(other).unwrap();
    assert_eq!(fs.bytes_used(), 1);
}

#[test]
fn a_removed_file_lives_while_it_is_open() {
    let mut fs = populated();
    let fd = fs.open_append(DAEMON, "/d/f", 0o644).unwrap();
    fs.remove_tree("/d").unwrap();
    assert_eq!(fs.write(fd, b"more").unwrap(), 4);
    fs.sync(fd).unwrap();
    assert_eq!(fs.bytes_used(), 5);
    fs.make_dir("/d", 0o755).unwrap();
    put(&mut fs, "/d/f", b"another");
    assert_eq!(fs.read_file(DAEMON, "/d/f").unwrap(), b"another");
    fs.close(fd).unwrap();
    assert_eq!(fs.bytes_used(), 7);
}

#[test]
fn the_owners_mode_bits_decide() {
    let mut fs = populated();
    fs.set_mode("/d/f", 0o044).unwrap();
    assert_eq!(text(fs.read_file(DAEMON, "/d/f")), "open /d/f: permission denied");
    assert_eq!(text(fs.open_append(DAEMON, "/d/f", 0)), "open /d/f: permission denied");

    fs.set_mode("/d/full", 0o500).unwrap();
    assert_eq!(text(fs.make_dir("/d/full/x", 0o755)), "mkdir /d/full/x: permission denied");
    assert_eq!(text(fs.remove_file("/d/full/g")), "remove /d/full/g: permission denied");
    assert!(fs.rename("/d/full/g", "/d/g").unwrap_err().is(Errno::EACCES));
    assert!(fs.rename("/d/f", "/d/full/f").unwrap_err().is(Errno::EACCES));
    assert!(fs.rename("/d/full", "/full").unwrap_err().is(Errno::EACCES), "its .. would change");
    fs.rename("/d/full", "/d/still").unwrap();
    fs.rename("/d/still", "/d/full").unwrap();
    assert_eq!(text(fs.remove_tree("/d/full")), "unlinkat /d/full/g: permission denied");
    assert_eq!(fs.read_file(DAEMON, "/d/full/g").unwrap(), b"g");

    fs.set_mode("/d/full", 0o300).unwrap();
    assert_eq!(text(fs.remove_tree("/d/full")), "openfdat /d/full: permission denied");
    fs.set_mode("/d/full", 0o600).unwrap();
    assert_eq!(text(fs.read_file(DAEMON, "/d/full/g")), "open /d/full/g: permission denied");
    assert_eq!(text(fs.make_dir_all("/d/full/a/b", 0o755)), "mkdir /d/full/a: permission denied");
    assert_eq!(text(fs.remove_tree("/d/full")), "fstatat /d/full/g: permission denied");
    assert_eq!(fs.metadata("/d/full").unwrap().mode, 0o600);
}

#[test]
fn temporary_names_are_counted_and_skip_what_exists() {
    let mut fs = fs();
    fs.make_dir("/1", 0o755).unwrap();
    assert_eq!(fs.make_temp_dir("/").unwrap(), "/2");
    put(&mut fs, "/.tmp-status3", b"");
    let (_, path) = fs.create_temp(DAEMON, "/", ".tmp-status").unwrap();
    assert_eq!(path, "/.tmp-status4");
    assert_eq!(fs.metadata(&path).unwrap().mode, 0o600);
    assert_eq!(fs.metadata("/2").unwrap().mode, 0o700);
    assert_eq!(fs.make_temp_dir("/2").unwrap(), "/2/5");
}

#[test]
fn remove_tree_removes_what_it_can_and_names_the_first_that_stays() {
    let mut fs = populated();
    fs.make_dir_all("/d/full/m/inner", 0o755).unwrap();
    fs.mount("/d/full/m", 0o755).unwrap();
    put(&mut fs, "/d/full/m/mounted", b"m");
    let error = fs.remove_tree("/d/").unwrap_err();
    assert_eq!(error.to_string(), "unlinkat /d/full/m: device or resource busy");
    assert_eq!(paths(&fs, "/"), ["/", "/d", "/d/full", "/d/full/m"]);
    fs.unmount(&error.path).unwrap();
    fs.remove_tree("/d").unwrap();
    fs.remove_tree("/d").unwrap();
    fs.remove_tree("/no/such/path").unwrap();
    assert_eq!(paths(&fs, "/"), ["/"]);
    assert_eq!(fs.bytes_used(), 0);
}

#[test]
fn removing_does_not_recurse_on_the_stack() {
    let mut fs = FileSystem::new(Limits { inodes_max: 1 << 20, ..Limits::default() });
    fs.make_dir("/tower", 0o755).unwrap();
    for _ in 0..200_000 {
        fs.make_dir("/base", 0o755).unwrap();
        fs.rename("/tower", "/base/t").unwrap();
        fs.rename("/base", "/tower").unwrap();
    }
    fs.remove_tree("/tower").unwrap();
    assert_eq!(paths(&fs, "/"), ["/"]);
}

#[test]
fn mounts_cover_and_unmounting_uncovers() {
    let mut fs = populated();
    fs.mount("/d/full", 0o700).unwrap();
    fs.mount("/d/full", 0o711).unwrap();
    fs.make_dir("/d/full/sub", 0o755).unwrap();
    fs.mount("/d/full/sub", 0o755).unwrap();
    assert_eq!(fs.mount_count(), 3);
    assert!(!fs.exists("/d/full/g"));
    assert!(fs.exists("/d/full/../f"));
    assert_eq!(fs.metadata("/d/full").unwrap().mode, 0o711);
    assert_eq!(fs.walk("/d").filter(|entry| entry.mounted).count(), 2);
    assert_eq!(text(fs.remove_dir("/d/full")), "remove /d/full: device or resource busy");
    assert!(fs.rename("/d/full", "/d/x").unwrap_err().is(Errno::EBUSY));
    assert!(fs.rename("/d/empty", "/d/full").unwrap_err().is(Errno::EBUSY));
    assert_eq!(text(fs.mount("/d/f", 0o755)), "mount /d/f: not a directory");

    let fd = fs.open_append(DAEMON, "/d/full/log", 0o644).unwrap();
    fs.unmount("/d/full").unwrap();
    assert_eq!(fs.mount_count(), 1);
    fs.write(fd, b"x").unwrap();
    fs.close(fd).unwrap();
    assert_eq!(fs.bytes_used(), 2);
    fs.unmount_all("/d").unwrap();
    fs.unmount_all("/no/such/path").unwrap();
    fs.unmount("/d/full").unwrap();
    assert_eq!(text(fs.unmount("/no")), "unmount /no: no such file or directory");
    assert_eq!(fs.mount_count(), 0);
    assert!(fs.exists("/d/full/g"));
}

#[test]
fn opens_of_a_pipe_wait_for_each_other() {
    let mut fs = fs();
    let reader = fs.open_fifo(DAEMON, "/p", FifoEnd::Read).unwrap();
    assert_eq!(fs.metadata("/p").unwrap().mode, 0o700);
    assert!(!fs.fifo_is_open(reader));
    assert_eq!(fs.fifo_read(reader), FifoRead::Blocked);
    let writer = fs.join_fifo(SHIM, "/p", FifoEnd::Write).unwrap();
    assert!(fs.fifo_is_open(reader) && fs.fifo_is_open(writer));
    assert_eq!(fs.take_fifo_events(), [(reader, FifoEvent::Opened)]);

    assert_eq!(fs.fifo_write(writer, b"hello "), FifoWrite::Taken(6));
    assert_eq!(fs.take_fifo_events(), [(reader, FifoEvent::Readable)]);
    assert_eq!(fs.fifo_write(writer, b"world"), FifoWrite::Taken(5));
    assert_eq!(fs.take_fifo_events(), [], "nobody waits");
    fs.fifo_close(writer);
    assert_eq!(fs.fifo_read(reader), FifoRead::Data(b"hello world".to_vec()));
    assert_eq!(fs.fifo_read(reader), FifoRead::Eof);
    let again = fs.join_fifo(SHIM, "/p", FifoEnd::Write).unwrap();
    assert!(fs.fifo_is_open(again));
    assert_eq!(fs.fifo_read(reader), FifoRead::Blocked, "another writer ends the end");
    fs.fifo_close(reader);
    assert_eq!(fs.take_fifo_events(), [(reader, FifoEvent::Readable)]);
    assert_eq!(fs.fifo_read(reader), FifoRead::Closed);
    let FifoWrite::Broken(error) = fs.fifo_write(again, b"x") else { panic!("no reader") };
    assert_eq!(error.to_string(), "write /p: broken pipe");
    fs.fifo_close(reader);
}

#[test]
fn a_writer_that_came_and_went_leaves_the_end_of_the_stream() {
    let mut fs = fs();
    let reader = fs.open_fifo(DAEMON, "/p", FifoEnd::Read).unwrap();
    assert_eq!(fs.fifo_read(reader), FifoRead::Blocked);
    let writer = fs.join_fifo(SHIM, "/p", FifoEnd::Write).unwrap();
    fs.fifo_close(writer);
    let events = fs.take_fifo_events();
    assert_eq!(events, [(reader, FifoEvent::Opened), (reader, FifoEvent::Readable)]);
    assert_eq!(fs.fifo_read(reader), FifoRead::Eof);
}

#[test]
fn an_abandoned_open_does_not_count() {
    let mut fs = fs();
    let abandoned = fs.open_fifo(DAEMON, "/p", FifoEnd::Read).unwrap();
    fs.fifo_close(abandoned);
    let writer = fs.join_fifo(SHIM, "/p", FifoEnd::Write).unwrap();
    assert!(!fs.fifo_is_open(writer));
    assert_eq!(fs.fifo_write(writer, b"x"), FifoWrite::Blocked);
    let reader = fs.open_fifo(DAEMON, "/p", FifoEnd::Read).unwrap();
    let events = fs.take_fifo_events();
    assert_eq!(events, [(writer, FifoEvent::Opened), (writer, FifoEvent::Writable)]);
    assert_eq!(fs.fifo_write(reader, b"x"), FifoWrite::Closed, "not its direction");
    assert_eq!(fs.fifo_read(writer), FifoRead::Closed, "not its direction");
}

#[test]
fn a_shim_that_holds_both_ends_keeps_the_stream_and_its_bytes() {
    let mut fs = fs();
    let reader = fs.open_fifo(DAEMON, "/p", FifoEnd::Read).unwrap();
    let shim = fs.open_fifo_both(SHIM, "/p").unwrap();
    assert!(fs.fifo_is_open(reader) && fs.fifo_is_open(shim));
    assert_eq!(fs.fifo_write(shim, b"kept"), FifoWrite::Taken(4));
    fs.fifo_close(reader);
    let reader = fs.open_fifo(DAEMON, "/p", FifoEnd::Read).unwrap();
    assert_eq!(fs.fifo_read(reader), FifoRead::Data(b"kept".to_vec()));
    assert_eq!(fs.fifo_read(reader), FifoRead::Blocked);
    fs.take_fifo_events();
    fs.close_all(SHIM);
    assert_eq!(fs.take_fifo_events(), [(reader, FifoEvent::Readable)]);
    assert_eq!(fs.fifo_read(reader), FifoRead::Eof);
}

#[test]
fn bytes_are_dropped_with_the_last_end() {
    let mut fs = fs();
    let shim = fs.open_fifo_both(SHIM, "/p").unwrap_err();
    assert_eq!(shim.to_string(), "open /p: no such file or directory");
    fs.make_fifo("/p", 0o700).unwrap();
    let shim = fs.open_fifo_both(SHIM, "/p").unwrap();
    fs.fifo_write(shim, b"lost");
    assert_eq!(fs.metadata("/p").unwrap().size, 4);
    fs.fifo_close(shim);
    assert_eq!(fs.metadata("/p").unwrap().size, 0);
}

#[test]
fn a_full_pipe_blocks_and_small_writes_are_whole() {
    let mut fs = fs();
    let reader = fs.open_fifo(DAEMON, "/p", FifoEnd::Read).unwrap();
    let writer = fs.join_fifo(SHIM, "/p", FifoEnd::Write).unwrap();
    let big = vec![b'x'; FIFO_CAPACITY - 10];
    assert_eq!(fs.fifo_write(writer, &big), FifoWrite::Taken(FIFO_CAPACITY - 10));
    assert_eq!(fs.fifo_write(writer, &[b'y'; 11]), FifoWrite::Blocked);
    assert_eq!(fs.fifo_write(writer, &[b'y'; PIPE_BUF + 1]), FifoWrite::Taken(10));
    assert_eq!(fs.fifo_write(writer, b"z"), FifoWrite::Blocked);
    fs.take_fifo_events();
    let FifoRead::Data(data) = fs.fifo_read(reader) else { panic!("there was data") };
    assert_eq!(data.len(), FIFO_CAPACITY);
    assert_eq!(fs.take_fifo_events(), [(writer, FifoEvent::Writable)]);
    assert_eq!(fs.fifo_write(writer, b"z"), FifoWrite::Taken(1));
}

#[test]
fn a_write_of_nothing_needs_neither_room_nor_a_reader() {
    let mut fs = fs();
    let reader = fs.open_fifo(DAEMON, "/p", FifoEnd::Read).unwrap();
    let writer = fs.join_fifo(SHIM, "/p", FifoEnd::Write).unwrap();
    fs.fifo_write(writer, &vec![b'x'; FIFO_CAPACITY]);
    assert_eq!(fs.fifo_write(writer, b""), FifoWrite::Taken(0));
    fs.fifo_close(reader);
    assert_eq!(fs.fifo_write(writer, b""), FifoWrite::Taken(0));
    assert!(matches!(fs.fifo_write(writer, b"z"), FifoWrite::Broken(_)));
}

#[test]
fn opening_something_else_as_a_pipe_is_refused() {
    let mut fs = populated();
    assert_eq!(
        text(fs.open_fifo(DAEMON, "/no/p", FifoEnd::Read)),
        "error creating fifo /no/p: no such file or directory"
    );
    assert_eq!(text(fs.open_fifo(DAEMON, "/d/f/p", FifoEnd::Read)), "stat /d/f/p: not a directory");
    assert_eq!(text(fs.open_fifo(DAEMON, "/d/f", FifoEnd::Read)), "open /d/f: invalid argument");
    fs.make_fifo("/p", 0o500).unwrap();
    assert_eq!(text(fs.join_fifo(DAEMON, "/p", FifoEnd::Write)), "open /p: permission denied");
    assert_eq!(text(fs.open_append(DAEMON, "/p", 0)), "open /p: permission denied");
    assert_eq!(text(fs.read_file(DAEMON, "/p")), "open /p: no such device or address");
    assert_eq!(text(fs.make_fifo("/p", 0o700)), "mkfifo /p: file exists");
}

#[test]
fn a_pipe_without_a_name_still_connects_those_who_have_it_open() {
    let mut fs = fs();
    let reader = fs.open_fifo(DAEMON, "/p", FifoEnd::Read).unwrap();
    let writer = fs.join_fifo(SHIM, "/p", FifoEnd::Write).unwrap();
    fs.remove_file("/p").unwrap();
    assert_eq!(fs.fifo_write(writer, b"x"), FifoWrite::Taken(1));
    assert_eq!(fs.fifo_read(reader), FifoRead::Data(b"x".to_vec()));
    let stranger = fs.open_fifo(DAEMON, "/p", FifoEnd::Read).unwrap();
    assert!(!fs.fifo_is_open(stranger));
}

#[test]
fn equal_histories_have_equal_digests() {
    let history = |content: &[u8]| {
        let mut fs = populated();
        let fd = fs.open_append(DAEMON, "/d/f", 0o644).unwrap();
        fs.write(fd, content).unwrap();
        fs.close(fd).unwrap();
        fs
    };
    let fs = history(b"a");
    assert_eq!(fs.digest(), history(b"a").digest());
    assert_ne!(fs.digest(), history(b"b").digest());

    let mut copy = fs.clone();
    copy.make_dir("/d/f/x", 0o755).unwrap_err();
    assert_eq!(copy.digest(), fs.digest(), "a refusal changes nothing");
    copy.set_mode("/d/f", 0o600).unwrap();
    assert_ne!(copy.digest(), fs.digest());
    assert_eq!(fs.metadata("/d/f").unwrap().mode, 0o644);
}

#[test]
fn walk_goes_in_name_order_and_ignores_permissions() {
    let mut fs = populated();
    fs.set_mode("/d", 0).unwrap();
    let entries: Vec<_> = fs.walk("/d/").collect();
    let names: Vec<_> = entries.iter().map(|entry| &*entry.path).collect();
    assert_eq!(names, ["/d", "/d/empty", "/d/f", "/d/full", "/d/full/g"]);
    assert_eq!((entries[2].kind, entries[2].size), (FileKind::Regular, 1));
    assert_eq!(fs.walk("/no").count(), 0);
    assert_eq!(fs.content("/d/full/g"), Some(&b"g"[..]));
    assert_eq!(fs.content("/d/full"), None);
}

/// Every question that a power loss asks when the answers are these, by name; afterwards the file
/// system is as the answers left it.
fn lose_power(fs: &mut FileSystem, answers: &[(&str, Survival)]) -> Vec<String> {
    let mut asked = Vec::new();
    fs.power_loss(|pending, options| {
        let name = pending.to_string();
        if options == [Survival::Lost] {
            return Survival::Lost;
        }
        let answer = answers.iter().find(|(wanted, _)| *wanted == name);
        let answer = answer.map_or(Survival::Whole, |(_, answer)| *answer);
        assert!(options.contains(&answer), "{name} {options:?}");
        asked.push(name);
        answer
    });
    for (name, _) in answers {
        assert!(asked.iter().any(|asked| asked == name), "{name} was not asked: {asked:?}");
    }
    asked
}

/// `/d/status` with the content `old`, all of it durable.
fn checkpointed() -> FileSystem {
    let mut fs = fs();
    fs.make_dir("/d", 0o755).unwrap();
    put(&mut fs, "/d/status", b"old");
    fs.sync_all();
    fs
}

/// As containerd writes a status: over a temporary file that is synced, or not.
fn checkpoint(fs: &mut FileSystem, content: &[u8], synced: bool) -> String {
    let (fd, temp) = fs.create_temp(DAEMON, "/d", ".tmp-status").unwrap();
    fs.set_mode(&temp, 0o600).unwrap();
    fs.write(fd, content).unwrap();
    if synced {
        fs.sync(fd).unwrap();
    }
    fs.close(fd).unwrap();
    fs.rename(&temp, "/d/status").unwrap();
    temp
}

#[test]
fn without_a_directory_sync_a_rename_can_be_undone() {
    let mut fs = checkpointed();
    checkpoint(&mut fs, b"new", true);
    let asked = lose_power(&mut fs, &[("rename(/d/status)", Survival::Lost)]);
    assert_eq!(asked, ["rename(/d/status)"], "fsync made the rest durable");
    assert_eq!(fs.content("/d/status"), Some(&b"old"[..]));
    assert_eq!(fs.content("/d/.tmp-status1"), Some(&b"new"[..]));
    assert_eq!(fs.bytes_used(), 6);

    let mut fs = checkpointed();
    checkpoint(&mut fs, b"new", true);
    fs.sync_dir(DAEMON, "/d").unwrap();
    assert_eq!(lose_power(&mut fs, &[]), [""; 0]);
    assert_eq!(fs.content("/d/status"), Some(&b"new"[..]));
    assert_eq!(paths(&fs, "/d"), ["/d", "/d/status"]);
    assert_eq!(fs.bytes_used(), 3);
}

#[test]
fn without_an_fsync_a_renamed_file_can_be_empty_or_torn() {
    for (answer, left) in [(Survival::Whole, 1500), (Survival::Lost, 0), (Survival::Torn, 1024)] {
        let mut fs = checkpointed();
        checkpoint(&mut fs, &[b'x'; 1500], false);
        let asked = lose_power(&mut fs, &[("data(/d/status)", answer)]);
        let all = [
            "create(/d/.tmp-status1)",
            "chmod(/d/.tmp-status1)",
            "rename(/d/status)",
            "data(/d/status)",
        ];
        assert_eq!(asked, all);
        assert_eq!(fs.content("/d/status"), Some(&[b'x'; 1500][..left]));
        assert_eq!(fs.bytes_used(), left as u64);
    }
}

#[test]
fn what_depends_on_a_lost_operation_is_lost_without_asking() {
    let mut fs = checkpointed();
    fs.make_dir("/e", 0o755).unwrap();
    checkpoint(&mut fs, b"new", false);
    put(&mut fs, "/e/f", b"f");
    fs.rename("/e/f", "/d/f").unwrap();
    fs.make_dir("/g", 0o755).unwrap();
    // In `/`: both are asked. In `/d`: everything after the first. `/e/f` moved into `/d`.
    let asked = lose_power(&mut fs, &[("create(/d/.tmp-status1)", Survival::Lost)]);
    assert_eq!(
        asked,
        ["mkdir(/e)", "create(/d/.tmp-status1)", "create(/e/f)", "mkdir(/g)", "data(/e/f)"]
    );
    assert_eq!(paths(&fs, "/"), ["/", "/d", "/d/status", "/e", "/e/f", "/g"]);
    assert_eq!(fs.content("/d/status"), Some(&b"old"[..]));

    let mut fs = populated();
    let asked = lose_power(&mut fs, &[("mkdir(/d)", Survival::Lost)]);
    assert_eq!(asked, ["mkdir(/d)"]);
    assert_eq!(paths(&fs, "/"), ["/"]);
    assert_eq!(fs.bytes_used(), 0);
}

#[test]
fn a_removal_that_is_undone_brings_the_content_and_its_room_back() {
    let mut fs = checkpointed();
    let fd = fs.open_append(DAEMON, "/d/status", 0o600).unwrap();
    fs.remove_tree("/d").unwrap();
    fs.close(fd).unwrap();
    assert_eq!(fs.bytes_used(), 0);
    fs.make_dir("/d", 0o700).unwrap();
    put(&mut fs, "/d/other", b"x");
    let mut whole = fs.clone();
    let asked = lose_power(&mut fs, &[("unlink(/d/status)", Survival::Lost)]);
    assert_eq!(asked, ["unlink(/d/status)"], "nothing in it or above can have happened");
    assert_eq!(fs.content("/d/status"), Some(&b"old"[..]));
    assert_eq!((fs.bytes_used(), fs.metadata("/d").unwrap().mode), (3, 0o755));

    lose_power(&mut whole, &[("rmdir(/d)", Survival::Lost)]);
    assert_eq!(paths(&whole, "/"), ["/", "/d"]);
    assert_eq!(whole.bytes_used(), 0);
}

#[test]
fn what_is_gone_for_good_makes_room_for_other_files() {
    let mut fs = FileSystem::new(Limits { inodes_max: 3, bytes_max: 8, ..Limits::default() });
    for round in 0..10 {
        put(&mut fs, "/a", b"12345678");
        fs.make_dir("/b", 0o755).unwrap();
        assert!(fs.make_dir("/c", 0o755).unwrap_err().is(Errno::ENOSPC));
        fs.remove_file("/a").unwrap();
        fs.remove_dir("/b").unwrap();
        if round % 3 == 0 {
            fs.sync_dir(DAEMON, "/").unwrap();
            assert_eq!((fs.pending.len(), fs.inodes.len() - fs.inodes_free.len()), (0, 1));
        }
    }
    lose_power(&mut fs, &[]);
    assert_eq!((fs.limbo, fs.inodes.len() - fs.inodes_free.len()), (0, 1));
}

#[test]
fn after_a_failed_fsync_the_next_one_succeeds_and_the_data_are_gone() {
    let mut fs = fs();
    let fd = fs.open_append(DAEMON, "/f", 0o600).unwrap();
    fs.write(fd, b"safe,").unwrap();
    fs.sync(fd).unwrap();
    fs.write(fd, b"gone,").unwrap();
    fs.sync_failed(fd).unwrap();
    fs.write(fd, b"after").unwrap();
    let mut unsynced = fs.clone();
    fs.sync(fd).unwrap();
    assert_eq!(fs.content("/f"), Some(&b"safe,gone,after"[..]), "the cache has it");
    assert_eq!(lose_power(&mut fs, &[]), [""; 0]);
    assert_eq!(fs.content("/f"), Some(&b"safe,\0\0\0\0\0after"[..]));
    lose_power(&mut fs, &[]);
    assert_eq!(fs.bytes_used(), 15);

    lose_power(&mut unsynced, &[]);
    assert_eq!(unsynced.content("/f"), Some(&b"safe,"[..]));
    assert_eq!(unsynced.bytes_used(), 5);
}

#[test]
fn memory_does_not_outlive_a_power_loss() {
    let mut fs = populated();
    fs.make_dir("/run", 0o755).unwrap();
    fs.set_volatile("/run").unwrap();
    fs.sync_all();
    fs.make_dir_all("/run/io/1", 0o700).unwrap();
    let reader = fs.open_fifo(DAEMON, "/run/io/1/p", FifoEnd::Read).unwrap();
    fs.make_fifo("/d/p", 0o700).unwrap();
    let shim = fs.open_fifo_both(SHIM, "/d/p").unwrap();
    fs.fifo_write(shim, b"x");
    put(&mut fs, "/run/f", b"f");
    fs.mount("/d/empty", 0o755).unwrap();
    put(&mut fs, "/d/empty/m", b"m");
    assert_eq!(text(fs.rename("/run/f", "/d/f")), "rename /run/f /d/f: invalid cross-device link");
    assert_eq!(text(fs.remove_dir("/run")), "remove /run: device or resource busy");
    assert_eq!(lose_power(&mut fs, &[]), ["mkfifo(/d/p)"]);
    assert_eq!(paths(&fs, "/run"), ["/run"]);
    assert_eq!(paths(&fs, "/d/empty"), ["/d/empty"]);
    assert_eq!(fs.metadata("/d/p").unwrap().size, 0);
    assert_eq!((fs.open_count(DAEMON), fs.open_count(SHIM), fs.mount_count()), (0, 0, 0));
    assert_eq!(fs.fifo_read(reader), FifoRead::Closed);
    assert_eq!(fs.bytes_used(), 2);
    assert_eq!(fs.take_fifo_events(), []);
}

#[test]
fn a_directory_is_synced_by_whoever_may_read_it() {
    let mut fs = populated();
    assert_eq!(text(fs.sync_dir(DAEMON, "/no")), "open /no: no such file or directory");
    assert_eq!(text(fs.sync_dir(DAEMON, "/d/f")), "open /d/f: not a directory");
    fs.set_mode("/d", 0o300).unwrap();
    assert_eq!(text(fs.sync_dir(DAEMON, "/d")), "open /d: permission denied");
    fs.set_limits(Limits { open_max: 0, ..Limits::default() });
    assert_eq!(text(fs.sync_dir(DAEMON, "/")), "open /: too many open files");
}
