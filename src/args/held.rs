//! The command line of `held` and `revert`: changes that are stopped, and changes that are not shared.

use argh::FromArgs;
use std::path::PathBuf;

/// list mass changes that are held, and say what is to become of them
#[derive(FromArgs)]
#[argh(subcommand, name = "held")]
pub struct Held {
    #[argh(subcommand)]
    pub action: HeldAction,
}

#[derive(FromArgs)]
#[argh(subcommand)]
pub enum HeldAction {
    List(HeldList),
    Accept(HeldAccept),
    Reject(HeldReject),
}

/// list what is held
#[derive(FromArgs)]
#[argh(subcommand, name = "list")]
pub struct HeldList {
    /// only these folders
    #[argh(positional)]
    pub dirs: Vec<PathBuf>,
}

/// it was meant: share what was changed here, and do what others changed
#[derive(FromArgs)]
#[argh(subcommand, name = "accept")]
pub struct HeldAccept {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
}

/// it was not meant: put back what was changed here, and have others put back what they changed
#[derive(FromArgs)]
#[argh(subcommand, name = "reject")]
pub struct HeldReject {
    /// the folder
    #[argh(positional)]
    pub dir: PathBuf,
}

/// take back what was changed on this device, which may only read; what is displaced goes to history
#[derive(FromArgs)]
#[argh(subcommand, name = "revert")]
pub struct Revert {
    /// a folder, or files and directories in one; a directory with all that is in it
    #[argh(positional)]
    pub paths: Vec<PathBuf>,
    /// only list what would be taken back
    #[argh(switch, long = "dry-run")]
    pub is_dry_run: bool,
}
