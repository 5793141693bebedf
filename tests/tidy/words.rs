//! Words that are banned, where, and what to use instead: one table.
//!
//! Looks at code without comments and literals, so that a ban can be spoken of.

use super::source::{Finding, Source, has_word};

/// A row of the table.
struct Ban {
    /// Any of these.
    words: &'static [&'static str],
    /// Beneath these paths.
    within: &'static [&'static str],
    /// But not beneath these.
    except: &'static [&'static str],
    /// In tests too.
    in_tests: bool,
    /// Why, and what to use instead.
    instead: &'static str,
}

const ANYWHERE: &[&str] = &[""];
const ENGINE: &str = "pipeline/src/engine/";
const ROOMS: &str = "pipeline/src/rooms/";
const DRIVER: &str = "transport/src/driver";
const PEOPLE: &str = "src/";
/// A workspace of its own with foreign peers to measure against: async is what is measured there.
const FOREIGN: &[&str] = &["benches/wire/"];
/// The parts of storage that may name a path of the disk.
const PATHS: &[&str] = &[
    "storage/src/store/lmdb.rs",
    "storage/src/store/resident.rs",
    "storage/src/store/room.rs",
    "storage/src/folder/fs",
    PEOPLE,
];

const BANS: &[Ban] = &[
    Ban {
        words: &["async fn", "async move", ".await", "tokio", "async_std", "smol", "futures"],
        within: ANYWHERE,
        except: FOREIGN,
        in_tests: true,
        instead: "no async: a room (pipeline/src/rooms) and a bounded channel (pipeline/src/wiring.rs)",
    },
    Ban {
        words: &["todo!", "unimplemented!", "dbg!"],
        within: ANYWHERE,
        except: &[],
        in_tests: true,
        instead: "nothing is left for later: finish it, or leave it out and say so in the issue",
    },
    Ban {
        words: &["#[ignore", "should_panic"],
        within: ANYWHERE,
        except: &[],
        in_tests: true,
        instead: "a test always runs, and asserts on a returned error",
    },
    Ban {
        words: &["thread::sleep"],
        within: ANYWHERE,
        except: &[],
        in_tests: true,
        instead: "a named deadline (engine/wake.rs); in tests wait for the event itself, with a time-out",
    },
    Ban {
        words: &["HashMap", "HashSet"],
        within: ANYWHERE,
        except: &[],
        in_tests: true,
        instead: "BTreeMap or BTreeSet: order is part of the output",
    },
    Ban {
        words: &["unbounded", "mpsc", "sync_channel"],
        within: ANYWHERE,
        except: &[],
        in_tests: true,
        instead: "a bounded crossbeam channel, made in pipeline/src/wiring.rs",
    },
    Ban {
        words: &["bounded("],
        within: &["transport/", "storage/", "pipeline/", PEOPLE],
        except: &["pipeline/src/wiring.rs"],
        in_tests: false,
        instead: "every channel is made in pipeline/src/wiring.rs, which says who blocks on it",
    },
    Ban {
        words: &["thread::spawn"],
        within: ANYWHERE,
        except: &[],
        in_tests: false,
        instead: "a thread has a name and is joined: std::thread::Builder, in pipeline/src/rooms",
    },
    Ban {
        words: &["std::thread", "thread::Builder", "thread::scope", "rayon"],
        within: &["core/", "transport/", "storage/", "pipeline/"],
        except: &[ROOMS, DRIVER],
        in_tests: false,
        instead: "threads live in pipeline/src/rooms and in transport's driver",
    },
    Ban {
        words: &["Instant::now", "SystemTime::now", ".elapsed()"],
        within: ANYWHERE,
        except: &[ROOMS, DRIVER, PEOPLE],
        in_tests: false,
        instead: "time is an argument (`now`)",
    },
    Ban {
        words: &["getrandom", "OsRng", "thread_rng", "rand::"],
        within: &[
            "core/",
            "storage/",
            ENGINE,
            "pipeline/src/jobs/",
            "transport/src/endpoint",
            "transport/src/lane",
        ],
        except: &[],
        in_tests: false,
        instead: "randomness is an argument (a seed)",
    },
    Ban {
        words: &["std::env", "env::var", "env::args"],
        within: ANYWHERE,
        // Planted bugs are compiled into tests only.
        except: &[PEOPLE, "core/src/canary.rs"],
        in_tests: false,
        instead: "nothing below src/ reads the environment: pass it in (service::Setup)",
    },
    Ban {
        words: &["std::process", "process::exit", "process::abort"],
        within: ANYWHERE,
        except: &[PEOPLE],
        in_tests: false,
        instead: "return an error; src/ turns it into an exit code",
    },
    Ban {
        words: &["process::exit"],
        within: &[PEOPLE],
        // The second Ctrl-C ends at once; recovery is the normal path.
        except: &["src/run.rs"],
        in_tests: false,
        instead: "return std::process::ExitCode from main, so that everything is closed first",
    },
    Ban {
        words: &["println!", "eprintln!", "print!", "eprint!"],
        within: ANYWHERE,
        except: &[PEOPLE],
        in_tests: false,
        instead: "only src/ speaks to people: a Notice, or tracing",
    },
    Ban {
        words: &["std::fs", "File::open", "File::options", "File::create", "OpenOptions"],
        within: ANYWHERE,
        except: PATHS,
        in_tests: false,
        instead: "the user's files by storage::folder::fs (beneath a held directory), dunlin's own by storage",
    },
    Ban {
        words: &["UdpSocket", "TcpStream", "TcpListener", "quinn_udp"],
        within: ANYWHERE,
        except: &[DRIVER, "transport/src/socket", PEOPLE],
        in_tests: false,
        instead: "sockets belong to transport's driver; the endpoint is sans-IO",
    },
    Ban {
        words: &["UnixStream", "UnixListener", "UnixDatagram"],
        within: ANYWHERE,
        except: &[PEOPLE],
        in_tests: false,
        instead: "the control socket belongs to src/",
    },
    Ban {
        words: &["crossbeam_channel", "Sender", "Receiver", "Condvar", "Barrier"],
        within: &["core/", ENGINE, "pipeline/src/jobs/"],
        except: &[],
        in_tests: false,
        instead: "waiting belongs to the rooms: take values and give values",
    },
    Ban {
        words: &["Mutex", "RwLock", "RefCell", "AtomicU64", "AtomicBool", "std::io"],
        within: &["core/", ENGINE],
        except: &[],
        in_tests: false,
        instead: "pure: values in, values out; what is shared belongs to the rooms",
    },
    Ban {
        words: &[
            "folder::fs",
            "folder::recover",
            "store::lmdb",
            "store::edit",
            "LmdbStore",
            "transport::driver",
        ],
        within: &[ENGINE],
        except: &[],
        in_tests: false,
        instead: "the engine names types of storage and transport and calls neither: an Effect",
    },
    Ban {
        words: &["dunlin_transport", "dunlin_storage", "dunlin_pipeline"],
        within: &["core/"],
        except: &[],
        in_tests: true,
        instead: "core imports nobody",
    },
    Ban {
        words: &["dunlin_storage", "dunlin_pipeline"],
        within: &["transport/"],
        except: &[],
        in_tests: true,
        instead: "transport imports core alone; pipeline brings it together with storage",
    },
    Ban {
        words: &["dunlin_transport", "dunlin_pipeline"],
        within: &["storage/"],
        except: &[],
        in_tests: true,
        instead: "storage imports core alone; pipeline brings it together with transport",
    },
    Ban {
        words: &[".unwrap()", ".unwrap_err()"],
        within: ANYWHERE,
        except: &[],
        in_tests: false,
        instead: "an error for what the world does; `expect`, with its reason above, for what we do",
    },
    Ban {
        words: &["unsafe", "unsafe_code"],
        within: ANYWHERE,
        except: &["storage/src/store/lmdb.rs"],
        in_tests: true,
        instead: "safe Rust; the one exception is LMDB's open",
    },
    Ban {
        words: &["#[allow", "#![allow"],
        within: ANYWHERE,
        except: &[],
        in_tests: true,
        instead: "#[expect(…, reason = \"…\")], which says why and goes when it is not needed any more",
    },
    Ban {
        words: &["mod utils", "mod util", "mod helpers", "mod common"],
        within: ANYWHERE,
        except: &[],
        in_tests: true,
        instead: "a file is named by its one noun or verb",
    },
];

/// The table, applied to a file.
pub fn banned(source: &Source) -> Vec<Finding> {
    let is_beneath = |paths: &[&str]| paths.iter().any(|path| source.path.starts_with(path));
    let bans = BANS.iter().filter(|ban| is_beneath(ban.within) && !is_beneath(ban.except));
    let mut findings = Vec::new();
    for ban in bans {
        for line in source.lines().filter(|line| ban.in_tests || !line.is_test) {
            if let Some(word) = ban.words.iter().find(|word| has_word(line.code, word)) {
                findings.push(source.finding(line.number, format!("`{word}`: {}", ban.instead)));
            }
        }
    }
    findings
}

#[test]
fn each_ban_bites_in_its_place_and_nowhere_else() {
    for ban in BANS {
        for word in ban.words {
            for path in ban.within {
                let found = |path: &str, text: &str| {
                    let findings = banned(&Source::new(path, text));
                    findings.iter().any(|finding| finding.message.ends_with(ban.instead))
                };
                let place = format!("{}a.rs", if path.is_empty() { "core/src/" } else { path });
                let code = format!("fn a() {{\n    {word} \n}}\n");
                let test = format!("#[cfg(test)]\nmod tests {{\n    {word} \n}}\n");
                assert!(found(&place, &code), "{word} in {place}");
                assert_eq!(found(&place, &test), ban.in_tests, "{word} in a test of {place}");
                assert!(!found(&place, &format!("// {word}\nconst A: &str = \"{word}\";\n")), "{word}");
                for spared in ban.except {
                    assert!(!found(&format!("{spared}x.rs"), &code), "{word} in {spared}");
                }
            }
        }
    }
}

#[test]
fn layers_are_not_everywhere() {
    let text = "use dunlin_storage::disk::Spot;\n";
    assert_eq!(banned(&Source::new("transport/src/a.rs", text)).len(), 1);
    assert_eq!(banned(&Source::new("core/src/a.rs", text)).len(), 1);
    assert!(banned(&Source::new("pipeline/src/jobs/a.rs", text)).is_empty());
    assert!(banned(&Source::new("src/a.rs", text)).is_empty());
}
