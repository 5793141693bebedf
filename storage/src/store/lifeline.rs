//! What has to be known of a replica to make its store anew: kept beside it by whoever opens it.

use super::edit::Edit;
use super::rows::{PeerRow, encode};
use super::tables::{Store, StoreError};
use super::view::View;
use dunlin_core::id::{ChainId, FolderId, PeerId};
use dunlin_core::secret::Secret;
use minicbor::bytes::ByteArray;
use minicbor::{Decode, Encode};

/// See the module's doc.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct Lifeline {
    /// The folder.
    #[n(0)]
    folder: FolderId,
    /// The id in the root's marker.
    #[n(1)]
    marker: ByteArray<16>,
    /// The folder's secret, if it is held.
    #[n(2)]
    secret: Option<Secret>,
    /// Who was met, and where.
    #[n(3)]
    peers: Vec<(PeerId, PeerRow)>,
}

impl Lifeline {
    /// What a store that is set up says.
    pub fn of(store: &dyn Store) -> Result<Option<Self>, StoreError> {
        let tx = store.read()?;
        let view = View(&*tx);
        let Some(marker) = view.marker()? else { return Ok(None) };
        Ok(Some(Self {
            folder: view.folder()?,
            marker: marker.into(),
            secret: view.secret()?,
            peers: view.peers()?,
        }))
    }

    /// Reads it; `None`: it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        minicbor::decode(bytes).ok()
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        encode(self)
    }

    /// Sets an empty store up as the same replica with a chain that nobody has written to.
    pub fn restore(&self, store: &dyn Store, chain: ChainId) -> Result<(), StoreError> {
        let mut edit = Edit::new(store.write()?)?;
        edit.set_up(self.folder, chain, *self.marker)?;
        if let Some(secret) = &self.secret {
            edit.set_secret(secret)?;
        }
        self.peers.iter().try_for_each(|(peer, row)| edit.put_peer(peer, row))?;
        edit.commit()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_store_that_is_made_anew_is_the_same_replica_with_another_chain() {
        let chain = |incarnation| ChainId { author: PeerId([5; 32]), incarnation };
        let (old, new) = (MemoryStore::default(), MemoryStore::default());
        assert!(Lifeline::of(&old).unwrap().is_none(), "nothing is known of a store that is not set up");
        let mut edit = Edit::new(old.write().unwrap()).unwrap();
        edit.set_up(FolderId([1; 32]), chain(1), [2; 16]).unwrap();
        edit.set_secret(&[3; 32].into()).unwrap();
        let row = PeerRow { label: "other".to_owned(), addrs: vec!["10.0.0.1:27272".to_owned()], seen_ms: 5 };
        edit.put_peer(&PeerId([4; 32]), &row).unwrap();
        edit.commit().unwrap();
        let kept = Lifeline::of(&old).unwrap().unwrap().encode();
        Lifeline::decode(&kept).unwrap().restore(&new, chain(9)).unwrap();
        assert_eq!(Lifeline::of(&new).unwrap().unwrap().encode(), kept);
        assert_eq!(View(&*new.read().unwrap()).chain().unwrap(), chain(9));
        assert!(Lifeline::decode(&kept[..kept.len() - 1]).is_none());
    }
}
