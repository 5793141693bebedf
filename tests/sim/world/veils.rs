//! Parts of a disk that do not show for a while, and looks at them meanwhile. Says when; what it means is the
//! disk's matter.

use super::storm::Fault;
use super::{MS, What, World};
use crate::disk::ROOT;
use crate::disk::veil::Veil;
use dunlin_core::content::Kind;

/// From one veil to the next at one device.
const APART: u64 = 1_500 * MS;

impl World {
    /// Something does not show for a while, and somebody looks. What is only missing is so for less time than
    /// lies between two looks; what fails may fail for long.
    pub(super) fn veil(&mut self, device: usize) {
        // Whoever is away at both looks is gone as far as anybody can tell.
        if self.now < self.devices[device].disk.state().veiled_until + APART {
            return;
        }
        let veil = {
            let disk = self.devices[device].disk.state();
            let is_dir = |ino: &u64| disk.now[ino].kind == Kind::Directory;
            let mut dirs: Vec<u64> = disk.visible().into_iter().map(|(_, ino)| ino).filter(is_dir).collect();
            dirs.push(ROOT);
            let dir = *self.random.pick(&dirs).unwrap_or(&ROOT);
            match self.random.below(4) {
                0 => Veil::Root,
                1 => Veil::BreaksOff(dir),
                _ => Veil::Inside(dir),
            }
        };
        let longest = if matches!(veil, Veil::Inside(_)) { 450 } else { 8_000 };
        let lasts = self.random.between(50, longest) * MS;
        self.say(device, &format!("does not show: {veil:?}"));
        {
            let mut disk = self.devices[device].disk.state();
            disk.veil = Some(veil);
            disk.veiled_until = self.now + lasts;
        }
        let epoch = self.devices[device].epoch;
        let look = self.random.below(50 * MS);
        self.schedule(look, What::Notice(device, epoch, Vec::new()));
        self.schedule(lasts, What::Fault(Fault::Unveil(device)));
    }
}
