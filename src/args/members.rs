//! The command line of `share`, `invite`, `device`, `quarantine` and `recovery`: who may come into a folder, and who is in it.

use argh::FromArgs;
use std::net::SocketAddr;
use std::path::PathBuf;

/// share a directory: make it a folder if it is none, print an invite, and serve it
#[derive(FromArgs)]
#[argh(subcommand, name = "share")]
pub struct Share {
    /// the directory
    #[argh(positional)]
    pub dir: PathBuf,
    /// what the invited may do: writer (default), reader or admin
    #[argh(option, default = "String::from(\"writer\")")]
    pub role: String,
    /// how long the invite is good for, as 90s, 30m, 24h (default) or 7d; behind a code ten minutes at most
    #[argh(option, default = "String::from(\"24h\")")]
    pub expires: String,
    /// how many devices may use the invite (1)
    #[argh(option, default = "1")]
    pub uses: u32,
    /// ask before a device is admitted: type the six digits that it shows (dunlin invite confirm)
    #[argh(switch)]
    pub confirm: bool,
    /// print a short code in place of the link, good for ten minutes and one try
    #[argh(switch)]
    pub code: bool,
    /// the rendezvous server of the code, HOST or HOST:PORT (as config.toml says, or the local network)
    #[argh(option)]
    pub rendezvous: Option<String>,
    /// only for the device with this id, which dunlin id shows there
    #[argh(option, long = "for")]
    pub device: Option<String>,
    /// show the link as a QR code too
    #[argh(switch)]
    pub qr: bool,
    /// end as soon as one member is in sync
    #[argh(switch)]
    pub once: bool,
    /// address to listen on, as 0.0.0.0:27272; may be given again
    #[argh(option)]
    pub listen: Vec<SocketAddr>,
}

/// list the invites of folders that may still be used, and take one back
#[derive(FromArgs)]
#[argh(subcommand, name = "invite")]
pub struct Invite {
    #[argh(subcommand)]
    pub action: InviteAction,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum InviteAction {
    List(InviteList),
    Confirm(InviteConfirm),
    Revoke(InviteRevoke),
}

/// list the invites that are neither used up nor expired
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
pub struct InviteList {
    /// only of these folders
    #[argh(positional)]
    pub dirs: Vec<PathBuf>,
}

/// admit the device that waits for it, if the invite was made with --confirm
#[derive(FromArgs)]
#[argh(subcommand, name = "confirm")]
pub struct InviteConfirm {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
    /// the six digits that the device shows
    #[argh(positional)]
    pub digits: String,
}

/// take an invite back that this device has made; who has used it stays a member
#[derive(FromArgs)]
#[argh(subcommand, name = "revoke")]
pub struct InviteRevoke {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
    /// the invite's name, as list shows it, or its beginning
    #[argh(positional)]
    pub name: String,
}

/// list what removed devices did that does not count, and take it over
#[derive(FromArgs)]
#[argh(subcommand, name = "quarantine")]
pub struct Quarantine {
    #[argh(subcommand)]
    pub action: QuarantineAction,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum QuarantineAction {
    List(QuarantineList),
    Adopt(QuarantineAdopt),
}

/// list what removed devices did that does not count
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
pub struct QuarantineList {
    /// only of these folders
    #[argh(positional)]
    pub dirs: Vec<PathBuf>,
}

/// make the work of a removed device part of the folder; what others changed meanwhile stays, and becomes a conflict at most
#[derive(FromArgs)]
#[argh(subcommand, name = "adopt")]
pub struct QuarantineAdopt {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
    /// the removed device's label, or its id as list shows it, or the beginning of that
    #[argh(positional)]
    pub device: String,
}

/// take a folder's recovery kit away from this device, and use it when no admin's device is left
#[derive(FromArgs)]
#[argh(subcommand, name = "recovery")]
pub struct Recovery {
    #[argh(subcommand)]
    pub action: RecoveryAction,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum RecoveryAction {
    Take(RecoveryTake),
    Use(RecoveryUse),
}

/// write the recovery kit of a folder that was begun on this device to a file, and forget it here
#[derive(FromArgs)]
#[argh(subcommand, name = "take")]
pub struct RecoveryTake {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
    /// the file, which must not be there yet; - prints it
    #[argh(positional)]
    pub file: PathBuf,
}

/// make this device an admin of a folder by its recovery kit; remove devices that are lost
#[derive(FromArgs)]
#[argh(subcommand, name = "use")]
pub struct RecoveryUse {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
    /// the file with the kit; - reads it from standard input
    #[argh(positional)]
    pub file: PathBuf,
    /// a device to remove, also if it began the folder, by its label or the beginning of its id; may be given again
    #[argh(option)]
    pub remove: Vec<String>,
}

/// list the devices that take part in a folder, say what each may do, and remove one
#[derive(FromArgs)]
#[argh(subcommand, name = "device")]
pub struct Device {
    #[argh(subcommand)]
    pub action: DeviceAction,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum DeviceAction {
    List(DeviceList),
    Role(DeviceRole),
    Revoke(DeviceRevoke),
}

/// list the members of folders, what each may do, and who is connected
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
pub struct DeviceList {
    /// only of these folders
    #[argh(positional)]
    pub dirs: Vec<PathBuf>,
}

/// change what a device may do; an admin can, but not with an admin that was admitted before it
#[derive(FromArgs)]
#[argh(subcommand, name = "role")]
pub struct DeviceRole {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
    /// the device's label, or its id as list shows it, or the beginning of that
    #[argh(positional)]
    pub device: String,
    /// writer, reader or admin
    #[argh(positional)]
    pub role: String,
}

/// remove a device from a folder: the others end its sessions and take nothing from it any more; it keeps the files that it has
#[derive(FromArgs)]
#[argh(subcommand, name = "revoke")]
pub struct DeviceRevoke {
    /// say that an admin that was admitted before this device is to go; two thirds of the other admins together, and never
    /// fewer than two, remove it
    #[argh(switch)]
    pub vote: bool,
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
    /// the device's label, or its id as list shows it, or the beginning of that
    #[argh(positional)]
    pub device: String,
}
