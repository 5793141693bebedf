//! What arrives of contents: pieces that the hands have opened, staged files that were begun and finished.

use super::Engine;
use super::effect::{DigestOrder, Effect, LedgerOrder, PieceOrder};
use super::event::PieceError;
use super::fetch::{Expected, Piece};
use super::remote::Stuck;
use super::serve::Arrived;
use dunlin_core::look::Look;
use dunlin_storage::folder::apply::Source;
use dunlin_storage::folder::stage::StageError;
use dunlin_transport::ConnId;
use std::time::Instant;

impl Engine {
    pub(super) fn handle_stage_opened(
        &mut self,
        ticket: u64,
        missing: Result<Vec<u32>, String>,
        reused: u64,
    ) {
        self.progress.bytes_reused += reused;
        match missing {
            Ok(missing) => {
                if let Some(transfer) = self.fetch.transfer(ticket) {
                    transfer.handle_opened(missing);
                    let name = transfer.name();
                    self.tell_held(name);
                }
            }
            Err(why) => self.transfer_failed(ticket, why),
        }
    }

    pub(super) fn handle_stage_finished(&mut self, ticket: u64, result: Result<Option<Look>, PieceError>) {
        match result {
            Ok(look) => {
                if let Some(waiting) = self.fetch.take_transfer(ticket) {
                    self.show_interest((waiting.node, waiting.version), false);
                    let source = Source::Staged(waiting.content.hash);
                    self.place_content(waiting, source, look, 0);
                }
            }
            Err(PieceError::Wrong) => {
                if let Some(transfer) = self.fetch.transfer(ticket) {
                    let content = transfer.waiting_mut().content;
                    self.fetch.note_untrue(&content);
                }
                self.transfer_failed(ticket, StageError::WrongWhole.to_string());
            }
            Err(PieceError::Unwritable(why)) => self.transfer_failed(ticket, why),
        }
    }

    /// A piece went through the hands: it counts now, or is asked for again.
    pub(super) fn handle_opened(&mut self, now: Instant, ticket: u64, result: Result<Vec<u8>, PieceError>) {
        // A ticket is handed out with each order and answered once.
        let (conn, expected) = self.opening.remove(&ticket).expect("each opened piece was ordered");
        match result {
            Ok(bytes) => self.take_piece(expected, bytes),
            Err(PieceError::Wrong) => self.handle_wrong_piece(now, conn, expected),
            Err(PieceError::Unwritable(why)) => {
                self.fetch.release(u64::from(expected.size.max(1)));
                self.transfer_failed(expected.owner, why);
            }
        }
    }

    pub(super) fn handle_reused(&mut self, owner: u64, bytes: Option<Vec<u8>>) {
        match bytes {
            Some(bytes) => {
                self.progress.bytes_reused += bytes.len() as u64;
                if let Some(waiting) = self.fetch.take_small(owner) {
                    let (len, look) = (bytes.len(), Look::of(&bytes));
                    self.place_content(waiting, Source::Inline(bytes), look, len);
                }
            }
            None => self.fetch.handle_not_here(owner),
        }
    }

    pub(super) fn take_piece(&mut self, expected: Expected, bytes: Vec<u8>) {
        let size = u64::from(expected.size.max(1));
        match expected.piece {
            Piece::Small => {
                self.progress.bytes_received += bytes.len() as u64;
                match self.fetch.take_small(expected.owner) {
                    Some(waiting) => {
                        let (len, look) = (bytes.len(), Look::of(&bytes));
                        self.place_content(waiting, Source::Inline(bytes), look, len);
                    }
                    None => self.fetch.release(size),
                }
            }
            Piece::Root | Piece::Segment(_) => {
                self.fetch.release(size);
                self.effects.push_back(Effect::Ledger(LedgerOrder::KeepPart { hash: expected.hash, bytes }));
                if let Some(transfer) = self.fetch.transfer(expected.owner) {
                    match expected.piece {
                        Piece::Root => transfer.handle_root(),
                        _ => transfer.handle_segment(),
                    }
                }
            }
            Piece::Chunk(index) => {
                self.progress.bytes_received += u64::from(expected.size);
                self.fetch.release(size);
                if let Some(transfer) = self.fetch.transfer(expected.owner) {
                    transfer.handle_chunk(index);
                }
            }
        }
    }

    /// Orders a received piece to be opened.
    pub(super) fn open_piece(&mut self, conn: ConnId, expected: Expected, piece: Arrived) {
        let Arrived { lz4, size, frame, payload_at } = piece;
        self.next_ticket += 1;
        let stage = match expected.piece {
            Piece::Chunk(index) => Some((expected.owner, index)),
            _ => None,
        };
        self.opening.insert(self.next_ticket, (conn, expected));
        self.effects.push_back(Effect::Digest(DigestOrder::Open(PieceOrder {
            ticket: self.next_ticket,
            stage,
            hash: expected.hash,
            size,
            lz4,
            frame,
            payload_at,
        })));
    }

    pub(super) fn transfer_failed(&mut self, ticket: u64, why: String) {
        if let Some(waiting) = self.fetch.take_transfer(ticket) {
            self.show_interest((waiting.node, waiting.version), false);
            self.fetch.unstage(&waiting.content.hash);
            self.note_problem(waiting.step.operation.at().to_string(), why);
            self.set_stuck(Some(waiting.place), Stuck::ForGood);
        }
    }
}
