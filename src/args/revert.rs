//! The command line of `revert`.

use argh::FromArgs;
use std::path::PathBuf;

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
