//! Ignore rules: a file that any member writes is compiled and asked on every device (I12).

use super::{joined, parts};
use dunlin_core::path::RelPath;
use dunlin_storage::folder::ignore::{Rules, Texts, Verdict};

/// The first two parts are the two files, the others paths. What is ignored is the same whether one asks for a path, or
/// goes down to it and looks at each name.
pub fn ignore_rules(data: &[u8]) {
    let parts = parts(data);
    let [shared, local, paths @ ..] = &parts[..] else { return };
    let texts = Texts { shared: shared.to_vec(), local: local.to_vec() };
    let lines = shared.iter().chain(*local).filter(|byte| **byte == b'\n').count() + 2;
    let Ok(rules) = Rules::compile(texts.clone()) else { return };
    assert_eq!(rules.texts(), &texts);
    assert!(rules.bad().len() <= lines + 2, "no more is told than there are lines");
    for path in paths.iter().filter_map(|path| RelPath::parse(path).ok()) {
        for is_dir in [true, false] {
            let ignored = rules.ignores(&path, is_dir);
            assert_eq!(ignored, on_the_way_down(&rules, &path, is_dir), "{path} in {texts:?}");
            if let Verdict::Ignored { at, .. } = rules.explain(&path, is_dir) {
                assert!(path.names().starts_with(at.names()), "{at} is not above {path}");
            }
        }
    }
}

/// As a scan does it: into no directory that is ignored.
fn on_the_way_down(rules: &Rules, path: &RelPath, is_dir: bool) -> bool {
    let names = path.names();
    (1..=names.len()).any(|depth| {
        let at = names[..depth].iter().try_fold(RelPath::root(), |at, name| at.join(name.clone()));
        rules.ignores_here(&at.expect("no deeper than the path"), is_dir || depth < names.len())
    })
}

pub fn ignore_seeds() -> Vec<Vec<u8>> {
    let scripts: [&[&str]; 5] = [
        &["*.o\n!keep.o\nbuild/\n", "/top\na/**/b\n", "a.o", "keep.o", "build/x", "top", "a/x/y/b"],
        &["# no\n\\#yes\r\n{a,b}c\n[!a-z]*\n", "!.DS_Store\n", "#yes", "ac", "Z", ".DS_Store"],
        &["*\n!*.txt\n", "", ".dunlinignore", ".dunlinignore.local", "x/.dunlinignore", "a.txt"],
        &["{x,\nz\n[", "\u{feff}first\n", "x", "z", "first", ".a.swp/b"],
        &["**/**/**/*a*a*a*a*b\n?*?*?*[ab]\n", "", "aaaaaaaaaaaaaaaaaaaaaaaaaaaac", "a/a/a/a/a/a/a/a/a"],
    ];
    let bytes = |script: &&[&str]| script.iter().map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>();
    scripts.iter().map(|script| joined(&bytes(script))).collect()
}
