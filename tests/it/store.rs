//! What becomes of the gateway's pairing store while sessions run: what clients see, and how soon all is well again.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use scope_shim::demo::simulated::Profile;
use tokio::time::timeout;

use crate::held::gives_everything_back;
use crate::stage::{Stage, until};
use crate::support::client::{LEGACY, READ};

/// Something that befalls a file. What it was is beside it.
struct Mishap {
    name: &'static str,
    leaves: Leaves,
    befalls: fn(file: &Path, kept: &Path),
}

/// What is there to be read then.
#[derive(Clone, Copy)]
enum Leaves {
    TheSame,
    Nothing,
    Damage,
}

const MISHAPS: [Mishap; 8] = [
    Mishap {
        name: "is deleted",
        leaves: Leaves::Nothing,
        befalls: |file, _| fs::remove_file(file).unwrap(),
    },
    Mishap {
        name: "is another file with the same in it",
        leaves: Leaves::TheSame,
        befalls: |file, kept| {
            let next = file.with_extension("next");
            fs::copy(kept, &next).unwrap();
            fs::rename(next, file).unwrap();
        },
    },
    Mishap {
        name: "is a link to one",
        leaves: Leaves::TheSame,
        befalls: |file, kept| {
            fs::remove_file(file).unwrap();
            symlink(kept, file).unwrap();
        },
    },
    Mishap {
        name: "is a link to nowhere",
        leaves: Leaves::Nothing,
        befalls: |file, kept| {
            fs::remove_file(file).unwrap();
            symlink(kept.join("nowhere"), file).unwrap();
        },
    },
    Mishap {
        name: "is a directory",
        leaves: Leaves::Damage,
        befalls: |file, _| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        },
    },
    Mishap {
        name: "is empty",
        leaves: Leaves::Damage,
        befalls: |file, _| fs::write(file, "").unwrap(),
    },
    Mishap {
        name: "is half written",
        leaves: Leaves::Damage,
        befalls: |file, kept| {
            let whole = fs::read(kept).unwrap();
            fs::write(file, &whole[..whole.len() / 2]).unwrap();
        },
    },
    Mishap {
        name: "is somebody else's",
        leaves: Leaves::Damage,
        befalls: |file, _| fs::write(file, "[1, 2, 3]").unwrap(),
    },
];

/// As it was before, whatever is there now.
fn mend(file: &Path, kept: &Path) {
    if file.is_dir() {
        fs::remove_dir(file).unwrap();
    }
    let next = file.with_extension("next");
    fs::copy(kept, &next).unwrap();
    fs::rename(next, file).unwrap();
}

/// A session that was repaired, newcomers meanwhile, and when all is well again.
async fn suffers(mishap: &Mishap) {
    let stage = Stage::new(Profile::Literal).await;
    let connect = stage
        .through()
        .device(&stage.paired(LEGACY))
        .scopes(&[READ]);
    let mut session = connect.clone().run().await.admitted();
    let file = stage.state().join("devices/paired.json");
    let kept = stage.state().join("kept.json");
    fs::copy(&file, &kept).unwrap();
    (mishap.befalls)(&file, &kept);
    match mishap.leaves {
        Leaves::TheSame => {
            assert_eq!(connect.clone().run().await.label().await, "ok r");
            assert_eq!(session.letters().await, "r");
        }
        Leaves::Nothing => {
            let (code, reason) = session.closed().await;
            assert_eq!(code, 1008);
            assert!(reason.contains("was removed"), "{reason}");
        }
        // What becomes of it is the gateway's to say, which reads the same.
        Leaves::Damage => {
            let newcomer = timeout(RECOVERY, connect.clone().run()).await;
            newcomer.expect("nobody waits for a store");
        }
    }
    mend(&file, &kept);
    let mended = Instant::now();
    let again = until(&connect, mishap.name, |outcome| outcome.session.is_some()).await;
    assert!(
        mended.elapsed() < RECOVERY,
        "{}: {:?}",
        mishap.name,
        mended.elapsed()
    );
    drop((session, again));
    gives_everything_back(&stage.dir.path().join("data"), RECOVERY).await;
}

#[tokio::test]
async fn whatever_befalls_the_store_is_survived_and_over_when_it_is_mended() {
    let all = MISHAPS.iter().map(suffers);
    futures_util::future::join_all(all).await;
}

/// How soon a store is read again that is as it should be, at the latest.
const RECOVERY: Duration = Duration::from_secs(20);
