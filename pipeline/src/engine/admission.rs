//! How somebody comes in: an invite is redeemed here, or there. Where the invite says so the user is asked first, who types the
//! digits that the other device shows: a copied invite is worth nothing to whoever cannot tell him those.

use super::Engine;
use super::effect::{Effect, LedgerOrder};
use super::event::LedgerState;
use super::gossip::{BYE_PROTOCOL, BYE_REFUSED, JOIN_PSK};
use super::session::{Session, Stage};
use crate::ask::Answer;
use crate::jobs::admit::Redeemed;
use crate::service::Notice;
use dunlin_core::invite::digits;
use dunlin_core::message::{JoinRequest, Message, Welcome};
use dunlin_core::secret::Secret;
use dunlin_transport::{Command, ConnId};

impl Engine {
    /// The ledger says whether the invite is good.
    pub(super) fn redeem(&mut self, conn: ConnId, request: JoinRequest, is_confirmed: bool) {
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        session.redeems = Some(request.clone());
        let (peer, binding) = (session.peer, session.binding);
        let order = LedgerOrder::AddMember { conn, peer, request, binding, is_confirmed };
        self.effects.push_back(Effect::Ledger(order));
    }

    pub(super) fn handle_member_added(&mut self, conn: ConnId, result: Redeemed, state: LedgerState) {
        self.set_ledger(state);
        let Some(session) = self.sessions.get_mut(&conn) else { return };
        let (peer, label, binding) = (session.peer, session.label.clone(), session.binding);
        match result {
            Redeemed::Admitted(secret) => {
                session.redeems = None;
                self.send(conn, &Message::Welcome(Welcome { secret }));
                self.send_hello(conn, &binding, false);
                self.open(conn);
            }
            Redeemed::Asks => {
                self.send(conn, &Message::Compare);
                self.effects.push_back(Effect::Tell(Notice::Asks { peer, label }));
            }
            Redeemed::Refused(why) => self.close(conn, BYE_REFUSED, &why),
        }
    }

    /// The user has typed what the other device shows. If two show the same neither is meant.
    pub(super) fn confirm(&mut self, ticket: u64, typed: &str) {
        let shows = |session: &&Session| session.redeems.is_some() && digits(&session.binding) == typed;
        let shown: Vec<&Session> = self.sessions.values().filter(shows).collect();
        let meant = match shown[..] {
            [session] => {
                session.redeems.clone().map(|request| (session.conn, session.label.clone(), request))
            }
            _ => None,
        };
        let label = meant.map(|(conn, label, request)| {
            self.redeem(conn, request, true);
            label
        });
        self.effects.push_back(Effect::Reply { ticket, answer: Answer::Confirmed(label) });
    }

    pub(super) fn handle_compare(&mut self, conn: ConnId) {
        let Some(session) = self.sessions.get(&conn).filter(|session| session.is_joining()) else {
            return self.close(conn, BYE_PROTOCOL, "a question that belongs to a joining");
        };
        let digits = digits(&session.binding);
        self.effects.push_back(Effect::Tell(Notice::Compare { digits }));
    }

    pub(super) fn handle_welcome(&mut self, conn: ConnId, secret: Secret) {
        let is_ours = self.sessions.get(&conn).is_some_and(|s| s.stage == Stage::Joining && s.outbound);
        if !is_ours {
            return self.close(conn, BYE_PROTOCOL, "a welcome that nobody asked for");
        }
        self.config.join = None;
        self.effects.push_back(Effect::Net(Command::RemovePsk { id: JOIN_PSK }));
        self.effects.push_back(Effect::Ledger(LedgerOrder::KeepSecret(secret)));
        self.open(conn);
    }
}
