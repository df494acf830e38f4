//! Bounds on everything a scenario file can say, so that no file exhausts the harness.

use std::time::Duration;

/// Size of a file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;
/// Tables, arrays and dotted keys inside one another.
pub const NESTING_MAX: usize = 16;
/// Errors reported for one file; the rest is counted.
pub const DIAGNOSTICS_MAX: usize = 50;

/// Length of the name of a file without `.toml`, in bytes.
pub const FILE_NAME_BYTES_MAX: usize = 200;
/// Length of a name, in bytes, as for a DNS label.
pub const NAME_BYTES_MAX: usize = 63;
/// Length of a title, message, path or any other text, in bytes.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Length of a description or of an expected log line, in bytes.
pub const LONG_TEXT_BYTES_MAX: usize = 1 << 16;
/// Length of the name of a site or moment, in bytes.
pub const SITE_BYTES_MAX: usize = 1024;

/// Entries of each kind of thing in the world: sandboxes, containers, plugins, images, runtimes.
pub const THINGS_MAX: usize = 64;
/// Entries of a list inside one entry: tags, labels, arguments, tags of an image.
pub const LIST_MAX: usize = 256;
/// Calls.
pub const CALLS_MAX: usize = 256;
/// Faults; holds, occurrences, changes of the clock and crashes likewise.
pub const DECISIONS_MAX: usize = 1024;
/// Expectations; expected violations likewise.
pub const EXPECTATIONS_MAX: usize = 4096;

/// Axes of a matrix.
pub const AXES_MAX: usize = 8;
/// Values of one axis.
pub const AXIS_VALUES_MAX: usize = 10_000;
/// Placeholders in one text.
pub const PLACEHOLDERS_MAX: usize = 16;
/// Texts with placeholders are checked in every case, until this many checks were made for a file;
/// what is wrong beyond them shows when the case runs.
pub const FILLED_IN_CHECKS_MAX: u32 = 200_000;
/// Cases that one file expands to.
pub const CASES_MAX: usize = 10_000;

/// The number of a container's restart, as the CRI has it.
pub const ATTEMPT_MAX: i64 = u32::MAX as i64;
/// Containers that a kubelet makes.
pub const KUBELET_CONTAINERS_MAX: i64 = 16;

/// Any duration or time of a file.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How much faster or slower a wall clock goes, in parts per million.
pub const DRIFT_PPM_MAX: i64 = 100_000;
/// What one process writes in one go: text times repeat, in bytes.
pub const OUTPUT_BYTES_MAX: u64 = 1 << 20;
/// What all processes of a file write, in bytes.
pub const OUTPUT_BYTES_TOTAL_MAX: u64 = 1 << 24;
