//! Loggers: tasks that write a stream's lines into the log file (spec sections 6.4 and 6.5).

use std::rc::Rc;

use tracing::{debug, error};

use super::pipe::{PipeReader, pipe};
use super::splitter::{LineSplitter, LogRecord};
use super::timestamp::rfc3339_nano;
use super::writers::LogWriter;
use crate::config::Config;
use crate::ports::{Clock, Context, Error, Fs, Lock, Metrics, Name, Ports, Runtime, Signal};
use crate::quote::quote;

/// The names of a stream's logger.
struct Names {
    stream: &'static str,
    task: &'static str,
    taken: &'static str,
    ended: &'static str,
}

const STDOUT: Names = Names {
    stream: "stdout",
    task: "log-stdout",
    taken: "log-stdout-taken",
    ended: "log-stdout-ended",
};

const STDERR: Names = Names {
    stream: "stderr",
    task: "log-stderr",
    taken: "log-stderr-taken",
    ended: "log-stderr-ended",
};

/// The log file, which the loggers share.
struct LogFile<P: Ports> {
    ports: P,
    path: String,
    file: <P::Fs as Fs>::File,
    /// Held for each write.
    lock: <P::Runtime as Runtime>::Lock<()>,
}

/// Opens the log file and starts the loggers: writers for stdout and, without a terminal, for stderr. The
/// file is closed once both were dropped and everything is written. With an empty path the writers
/// discard what they get.
///
/// # Errors
/// `failed to create and open log file: …`
pub async fn create_loggers<P: Ports>(
    ports: &P,
    config: &Config,
    log_path: &str,
    tty: bool,
    id: &str,
) -> Result<(LogWriter<P>, Option<LogWriter<P>>), Error> {
    if log_path.is_empty() {
        return Ok((LogWriter::Discard, Some(LogWriter::Discard)));
    }
    let file = open_log_file(ports, log_path).await;
    let log = Rc::new(LogFile {
        ports: ports.clone(),
        path: log_path.to_owned(),
        file: file.map_err(|error| error.wrap("failed to create and open log file"))?,
        lock: ports.runtime().lock(Name::new("log", id), ()),
    });
    let max_len = config.max_container_log_line_size;
    let (stdout, stdout_ended) = spawn_logger(&log, &STDOUT, max_len, id);
    let (stderr, stderr_ended) = if tty {
        (None, None)
    } else {
        let (stderr, ended) = spawn_logger(&log, &STDERR, max_len, id);
        (Some(stderr), Some(ended))
    };
    ports.runtime().spawn(Name::new("log-closer", id), async move {
        // An endless context has no error.
        let _ = stdout_ended.wait(&Context::background()).await;
        if let Some(ended) = stderr_ended {
            let _ = ended.wait(&Context::background()).await;
        }
        let Ok(log) = Rc::try_unwrap(log) else { panic!("a logger ended and kept its log file") };
        if let Err(error) = log.ports.fs().close(log.file).await {
            debug!(%error, "failed to close a container's log file");
        }
    });
    Ok((stdout, stderr))
}

async fn open_log_file<P: Ports>(ports: &P, path: &str) -> Result<<P::Fs as Fs>::File, Error> {
    let parent = match path.rsplit_once('/') {
        Some(("", _)) => "/",
        Some((parent, _)) => parent,
        None => ".",
    };
    ports.fs().make_dir_all(parent, 0o755).await?;
    Ok(ports.fs().open_append(path, 0o640).await?)
}

/// Starts a stream's logger. The signal is set when it has ended.
fn spawn_logger<P: Ports>(
    log: &Rc<LogFile<P>>,
    names: &'static Names,
    max_len: i64,
    id: &str,
) -> (LogWriter<P>, <P::Runtime as Runtime>::Signal) {
    let runtime = log.ports.runtime();
    let ended = runtime.signal(Name::new(names.ended, id));
    let (writer, reader) = pipe(&log.ports, Name::new(names.task, id), Name::new(names.taken, id));
    let (log, when_ended) = (log.clone(), ended.clone());
    let task = Name::new(names.task, id);
    runtime.clone().spawn(task, async move {
        log.redirect(names.stream, reader, max_len).await;
        drop(log);
        when_ended.set();
    });
    (LogWriter::Logger(writer), ended)
}

impl<P: Ports> LogFile<P> {
    /// Writes a stream record by record until it ends. Errors of the file do not stop it: the stream
    /// must not stall.
    async fn redirect(&self, stream: &str, mut reader: PipeReader<P>, max_len: i64) {
        let metrics = self.ports.metrics();
        let mut splitter = LineSplitter::new(max_len);
        let mut more = true;
        while more {
            more = reader.read(|bytes| splitter.push(bytes)).await;
            if !more {
                splitter.end();
            }
            while let Some(chunk) = splitter.next_chunk() {
                if chunk.len > 0 {
                    metrics.add("containerd_cri_input_entries_total", 1);
                    metrics.add("containerd_cri_input_bytes_total", chunk.len as u64);
                }
                for record in &chunk.records {
                    self.write(stream, record).await;
                }
                if chunk.splits > 0 {
                    metrics.add("containerd_cri_split_entries_total", chunk.splits);
                }
            }
        }
    }

    async fn write(&self, stream: &str, record: &LogRecord) {
        let time = rfc3339_nano(self.ports.clock().wall());
        let mut line = format!("{time} {stream} {} ", record.tag.letter()).into_bytes();
        line.extend_from_slice(&record.content);
        line.push(b'\n');
        match self.write_line(&line).await {
            Ok(()) => {
                let metrics = self.ports.metrics();
                metrics.add("containerd_cri_output_entries_total", 1);
                metrics.add("containerd_cri_output_bytes_total", line.len() as u64);
            }
            Err(error) => {
                error!(
                    %error,
                    "Fail to write {} log to log file {}",
                    quote(stream),
                    quote(&self.path)
                );
            }
        }
    }

    async fn write_line(&self, line: &[u8]) -> Result<(), Error> {
        let _held = self.lock.write().await;
        let written = self.ports.fs().write(&self.file, line).await?;
        if written < line.len() {
            return Err(Error::unknown("short write"));
        }
        Ok(())
    }
}
