//! A synchronous pipe in memory: a write returns once the reader has taken all of it.

use crate::ports::{Context, Error, Name, Ports, Receiver, Runtime, Sender};

type SenderOf<P, T> = <<P as Ports>::Runtime as Runtime>::Sender<T>;
type ReceiverOf<P, T> = <<P as Ports>::Runtime as Runtime>::Receiver<T>;

/// The near end. Dropping it is the end of the stream.
pub struct PipeWriter<P: Ports> {
    data: SenderOf<P, Vec<u8>>,
    taken: ReceiverOf<P, ()>,
}

/// The far end.
pub(super) struct PipeReader<P: Ports> {
    data: ReceiverOf<P, Vec<u8>>,
    taken: SenderOf<P, ()>,
    /// The write in progress; what is before `start` was taken.
    current: Vec<u8>,
    start: usize,
}

/// A pipe; `data` and `taken` name its two channels.
pub(super) fn pipe<P: Ports>(
    ports: &P,
    data: Name<'_>,
    taken: Name<'_>,
) -> (PipeWriter<P>, PipeReader<P>) {
    let (data_sender, data_receiver) = ports.runtime().channel(data, 1);
    let (taken_sender, taken_receiver) = ports.runtime().channel(taken, 1);
    let writer = PipeWriter { data: data_sender, taken: taken_receiver };
    let reader =
        PipeReader { data: data_receiver, taken: taken_sender, current: Vec::new(), start: 0 };
    (writer, reader)
}

impl<P: Ports> PipeWriter<P> {
    /// # Errors
    /// When the reader is gone.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let closed = || Error::unknown("io: read/write on closed pipe");
        if bytes.is_empty() {
            return Ok(());
        }
        // There is room: the write before was taken.
        self.data.try_send(bytes.to_vec()).map_err(|_| closed())?;
        let taken = self.taken.recv(&Context::background()).await;
        taken.ok().flatten().ok_or_else(closed)
    }
}

impl<P: Ports> PipeReader<P> {
    /// Offers what is written to `take`, which tells how much it took; waits when there is nothing.
    /// False at the end of the stream.
    pub(super) async fn read(&mut self, take: impl FnOnce(&[u8]) -> usize) -> bool {
        if self.current.is_empty() {
            match self.data.recv(&Context::background()).await {
                Ok(Some(bytes)) => self.current = bytes,
                Ok(None) | Err(_) => return false,
            }
        }
        self.start += take(&self.current[self.start..]);
        if self.start == self.current.len() {
            self.current.clear();
            self.start = 0;
            // Refused only when the writer is gone.
            let _ = self.taken.try_send(());
        }
        true
    }
}
