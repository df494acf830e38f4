//! containerd's metadata: container records, snapshots, images.

use std::collections::BTreeMap;
use std::rc::Rc;

use shakedown_cri::ports::{Code, Error, Image, Mount, Record, Spec};

#[derive(Default, Hash)]
pub struct Metadata {
    pub records: BTreeMap<String, Rc<Record>>,
    /// Key to the image it was made from.
    pub snapshots: BTreeMap<String, String>,
    pub images: Vec<Rc<Image>>,
}

fn missing_record(id: &str) -> Error {
    Error::new(Code::NotFound, format!("container {id:?} in namespace \"k8s.io\": not found"))
}

fn missing_snapshot(key: &str) -> Error {
    Error::new(Code::NotFound, format!("snapshot {key} does not exist: not found"))
}

impl Metadata {
    pub fn get(&self, id: &str) -> Result<Rc<Record>, Error> {
        self.records.get(id).cloned().ok_or_else(|| missing_record(id))
    }

    /// The records with a label, ordered by id.
    pub fn list(&self, key: &str, value: &str) -> Vec<Rc<Record>> {
        let labelled =
            |record: &&Rc<Record>| record.labels.iter().any(|(k, v)| k == key && v == value);
        self.records.values().filter(labelled).cloned().collect()
    }

    pub fn create(&mut self, record: Record) -> Result<(), Error> {
        if self.records.contains_key(&record.id) {
            let text = format!("container {:?}: already exists", record.id);
            return Err(Error::new(Code::AlreadyExists, text));
        }
        self.records.insert(record.id.clone(), Rc::new(record));
        Ok(())
    }

    pub fn update(&mut self, id: &str, spec: Spec) -> Result<(), Error> {
        let record = self.records.get_mut(id).ok_or_else(|| missing_record(id))?;
        Rc::make_mut(record).spec = spec;
        Ok(())
    }

    pub fn delete(&mut self, id: &str) -> Result<(), Error> {
        self.records.remove(id).map(|_| ()).ok_or_else(|| missing_record(id))
    }

    pub fn prepare(&mut self, key: &str, image: &str) -> Result<(), Error> {
        if self.snapshots.contains_key(key) {
            let text = format!("snapshot {key:?}: already exists");
            return Err(Error::new(Code::AlreadyExists, text));
        }
        self.snapshots.insert(key.to_owned(), image.to_owned());
        Ok(())
    }

    pub fn mounts(&self, key: &str) -> Result<Vec<Mount>, Error> {
        if !self.snapshots.contains_key(key) {
            return Err(missing_snapshot(key));
        }
        Ok(vec![Mount { kind: "overlay".into(), source: "overlay".into(), options: Vec::new() }])
    }

    pub fn remove_snapshot(&mut self, key: &str) -> Result<(), Error> {
        self.snapshots.remove(key).map(|_| ()).ok_or_else(|| missing_snapshot(key))
    }

    pub fn image(&self, reference: &str) -> Result<Rc<Image>, Error> {
        let matches = |image: &&Rc<Image>| {
            image.id == reference
                || image.tags.iter().any(|tag| tag == reference)
                || image.digests.iter().any(|digest| digest == reference)
        };
        let found = self.images.iter().find(matches).cloned();
        found.ok_or_else(|| Error::new(Code::NotFound, format!("image {reference:?}: not found")))
    }
}
