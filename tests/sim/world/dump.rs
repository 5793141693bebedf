//! Everything that the devices know, in words, for whoever looks into a failure.

use super::World;
use dunlin_core::content::{Body, State};
use dunlin_core::id::Dot;
use dunlin_core::tree::node::{Node, Version};
use dunlin_storage::disk::DiskRow;
use dunlin_storage::store::rows::decode;
use dunlin_storage::store::tables::{Store, Table};
use dunlin_storage::store::view::View;

impl World {
    /// Rows, nodes and marks of all devices, and their trees.
    pub fn dump(&self) -> Vec<String> {
        (0..self.devices.len()).flat_map(|device| self.dump_device(device)).collect()
    }

    fn dump_device(&self, device: usize) -> Vec<String> {
        let mut lines = vec![format!("== d{device}")];
        let Ok(tx) = self.devices[device].store.read() else { return lines };
        let view = View(&*tx);
        for (key, value) in view.all(Table::Nodes, &[]).unwrap_or_default() {
            let Ok(node) = decode::<Node>(Table::Nodes, &value) else { continue };
            let place = node.at.as_ref().map(|at| format!("{}/{}", self.dot(&at.parent), at.name));
            let heads: Vec<String> = node.content.iter().map(|v| self.version(v)).collect();
            let places: Vec<String> = node.place.iter().map(|v| self.dot(&v.id)).collect();
            let id = Dot::from_key(&key).map(|d| self.dot(&d)).unwrap_or_default();
            lines.push(format!(
                "node {id} {:?} at {} live {} heads {} places {}",
                node.kind,
                place.unwrap_or_default(),
                node.live,
                heads.join(" "),
                places.join(" ")
            ));
        }
        for (key, value) in view.all(Table::Disk, &[]).unwrap_or_default() {
            let Ok(row) = decode::<DiskRow>(Table::Disk, &value) else { continue };
            let (dir, name) = key.split_at(8.min(key.len()));
            let versions: Vec<String> = row.versions.iter().map(|v| self.dot(v)).collect();
            lines.push(format!(
                "row {:?}/{} node {} {} {} versions {} racy {} dir {:?} ino {}",
                dir.last(),
                String::from_utf8_lossy(name),
                self.dot(&row.node),
                match row.shown_as {
                    dunlin_storage::disk::ShownAs::Main => "main".to_owned(),
                    dunlin_storage::disk::ShownAs::Copy(v) => format!("copy {}", self.dot(&v)),
                },
                body(&row.body),
                versions.join(" "),
                row.racy,
                row.dir.map(|d| d.0),
                row.stat.ino,
            ));
        }
        for (place, _) in view.dirty(None, 100).unwrap_or_default() {
            lines.push(format!("dirty {}/{}", self.dot(&place.parent), place.name));
        }
        lines.extend(self.tree(device));
        lines
    }

    /// An event by its author's number.
    fn dot(&self, dot: &Dot) -> String {
        let author = self.devices.iter().position(|d| d.chain == dot.chain);
        format!("{}.{}.{}", author.map_or("?".to_owned(), |a| a.to_string()), dot.seq, dot.index)
    }

    fn version(&self, version: &Version<State>) -> String {
        let base: Vec<String> = version.base.iter().map(|v| self.dot(v)).collect();
        format!(
            "{}@{}<{}>{}",
            self.dot(&version.id),
            version.lamport,
            base.join(","),
            body(&version.value.body)
        )
    }
}

fn body(body: &Body) -> String {
    match body {
        Body::Deleted => "deleted".to_owned(),
        Body::Directory => "dir".to_owned(),
        Body::File(content) => format!("file:{}:{}", content.size, content.hash.short()),
        Body::Symlink(target) => format!("link:{}", String::from_utf8_lossy(target)),
    }
}
