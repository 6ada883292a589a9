//! A paired device that asks for other scopes: the heart of the matter.

use super::{Scenario, all, scenario};
use crate::support::client::{ADMIN, FULL, LEGACY, READ, WRITE};

pub(super) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario("admin does not cover read in 2026.2.19, local")
            .connect(
                "paired by the old cli",
                |s| s.client("a").scopes(LEGACY),
                all("ok rwAap"),
            )
            .connect(
                "read",
                |s| s.client("a").scopes(&[READ]),
                [PAIRING, "ok r", "ok r", "ok r"],
            )
            .connect(
                "write",
                |s| s.client("a").scopes(&[WRITE]),
                [PAIRING, "ok rw", "ok rw", "ok rw"],
            )
            .connect(
                "admin and write",
                |s| s.client("a").scopes(&[ADMIN, WRITE]),
                [PAIRING, "ok rwAap", "ok rwAap", "ok rwAap"],
            )
            .connect(
                "the same as paired",
                |s| s.client("a").scopes(LEGACY),
                all("ok rwAap"),
            )
            .waiting("a", ["read isRepair", "nothing", "nothing", "nothing"])
            .recorded(
                "a",
                [
                    "record admin,approvals,pairing token admin,approvals,pairing",
                    "record admin,approvals,pairing,read,write token admin,approvals,pairing",
                    "record admin,approvals,pairing token admin,approvals,pairing,read,write",
                    "record admin,approvals,pairing token admin,approvals,pairing,read,write",
                ],
            ),
        scenario("admin does not cover read in 2026.2.19, remote")
            .connect(
                "paired by the old cli",
                |s| s.client("a").scopes(LEGACY),
                all("ok rwAap"),
            )
            .connect(
                "read",
                |s| s.client("a").scopes(&[READ]).remote(),
                [PAIRING, "ok r", "ok r", "ok r"],
            )
            .connect(
                "write",
                |s| s.client("a").scopes(&[WRITE]).remote(),
                [PAIRING, "ok rw", "ok rw", "ok rw"],
            )
            .connect(
                "the same as paired",
                |s| s.client("a").scopes(LEGACY).remote(),
                all("ok rwAap"),
            ),
        scenario("an approved repair heals the legacy record")
            .connect(
                "paired by the old cli",
                |s| s.client("a").scopes(LEGACY),
                all("ok rwAap"),
            )
            .connect(
                "read",
                |s| s.client("a").scopes(&[READ]),
                [PAIRING, "ok r", "ok r", "ok r"],
            )
            .answer(
                "device.pair.approve",
                "a",
                ["OK", NOTHING, NOTHING, NOTHING],
            )
            .connect("read again", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .recorded(
                "a",
                [
                    "record admin,approvals,pairing,read token read",
                    "record admin,approvals,pairing,read token admin,approvals,pairing",
                    "record admin,approvals,pairing token admin,approvals,pairing,read,write",
                    "record admin,approvals,pairing token admin,approvals,pairing,read,write",
                ],
            ),
        scenario("a reader asks for more, local")
            .connect("paired", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .connect(
                "admin",
                |s| s.client("a").scopes(&[ADMIN]),
                [PAIRING, "ok rwAap", SCOPE, "ok rwAap"],
            )
            .connect(
                "again",
                |s| s.client("a").scopes(&[ADMIN]),
                [PAIRING, "ok rwAap", SCOPE, "ok rwAap"],
            )
            .connect(
                "read meanwhile",
                |s| s.client("a").scopes(&[READ]),
                all("ok r"),
            )
            .waiting(
                "a",
                ["admin isRepair", "nothing", "admin isRepair", "nothing"],
            )
            .answer("device.pair.approve", "a", ["OK", NOTHING, "OK", NOTHING])
            .connect(
                "admin after approval",
                |s| s.client("a").scopes(&[ADMIN]),
                all("ok rwAap"),
            )
            .recorded(
                "a",
                [
                    "record admin,read token admin",
                    "record admin,read token admin",
                    "record admin,read token admin,read,write",
                    "record admin,read token admin,read,write",
                ],
            ),
        scenario("a reader asks for more, remote")
            .connect("paired", |s| s.client("a").scopes(&[READ]), all("ok r"))
            .connect(
                "admin",
                |s| s.client("a").scopes(&[ADMIN]).remote(),
                [PAIRING, SCOPE, SCOPE, SCOPE],
            )
            .connect(
                "then write",
                |s| s.client("a").scopes(&[WRITE]).remote(),
                [PAIRING, SCOPE, SCOPE, SCOPE],
            )
            .connect(
                "read meanwhile",
                |s| s.client("a").scopes(&[READ]).remote(),
                all("ok r"),
            )
            .waiting(
                "a",
                [
                    "admin isRepair",
                    "admin,write isRepair",
                    "admin,write isRepair",
                    "admin isRepair",
                ],
            )
            .answer("device.pair.approve", "a", all("OK"))
            .connect(
                "admin after approval",
                |s| s.client("a").scopes(&[ADMIN]).remote(),
                all("ok rwAap"),
            ),
        scenario("repeating a request does not make another one")
            .step("same id", super::management::same_request_id(), all("same"))
            .waiting("a", all("read")),
        scenario("a scope without the prefix")
            .connect(
                "paired with everything",
                |s| s.client("a").scopes(FULL),
                all("ok rwAap"),
            )
            .connect(
                "custom",
                |s| s.client("a").scopes(&["custom"]),
                [PAIRING, "ok ·", SCOPE, SCOPE],
            ),
    ]
}

const PAIRING: &str = "NOT_PAIRED: pairing required";
const SCOPE: &str = "PAIRING_REQUIRED/scope-upgrade";
const NOTHING: &str = "nothing pending";
