//! Which device is the host's own command line?
//!
//! Up to 2026.7.1 its key lies in `identity/device.json`. From 2026.8.2 it is the row `primary` of the table
//! `device_identities`, which the gateway itself creates when it starts; a file that was there before is imported
//! under the same id and renamed. Whether that device is paired is another question: on 2026.9.6 it usually is not,
//! because the command line needs no device there.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rusqlite::OptionalExtension;
use serde::Deserialize;

use super::store::sqlite;
use super::store::{StoreError, is_absence};
use crate::device::DeviceId;

/// The host's own device below `state`, the directory that the gateway knows as `OPENCLAW_STATE_DIR`. Blocks.
///
/// `None` is normal: nobody has used the command line there yet.
///
/// # Errors
///
/// A [`StoreError`] when the identity is there but cannot be read.
pub fn own_device(state: &Path) -> Result<Option<DeviceId>, StoreError> {
    match from_file(&state.join("identity").join("device.json"))? {
        Some(device) => Ok(Some(device)),
        None => from_database(state),
    }
}

/// The identity file. The private key is in it, and passed over.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    device_id: String,
}

fn from_file(path: &Path) -> Result<Option<DeviceId>, StoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(StoreError::unreadable(path, error)),
    };
    // Parsed as it is read, so that the private key is never in memory as a whole.
    match serde_json::from_reader::<_, Identity>(file.take(MAX_BYTES)) {
        Ok(identity) => Ok(Some(DeviceId::new(identity.device_id))),
        Err(error) if error.is_io() => Err(StoreError::unreadable(path, error.into())),
        Err(error) => Err(StoreError::Corrupt {
            path: path.into(),
            what: format!(
                "no device id found up to line {} column {}",
                error.line(),
                error.column()
            ),
        }),
    }
}

fn from_database(state: &Path) -> Result<Option<DeviceId>, StoreError> {
    let found = sqlite::read(&sqlite::database_below(state), |connection| {
        let known =
            "SELECT 1 FROM pragma_table_info('device_identities') WHERE name = 'identity_key'";
        if !connection.prepare(known)?.exists([])? {
            return Ok(None);
        }
        let own = "SELECT device_id FROM device_identities WHERE identity_key = 'primary'";
        connection
            .query_row(own, [], |row| row.get::<_, String>(0))
            .optional()
    });
    match found {
        Ok(found) => Ok(found.map(DeviceId::new)),
        Err(StoreError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Far more than the half kilobyte that an identity takes.
const MAX_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use std::fs;

    use super::*;
    use crate::identity::store::sqlite::tests::gateway::{Gateway, SCHEMA};

    #[test]
    fn the_file_of_2026_7_1_and_before_names_the_device() {
        let state = tempfile::tempdir().unwrap();
        assert_eq!(own_device(state.path()).unwrap(), None);
        let path = state.path().join("identity/device.json");
        fs::create_dir(state.path().join("identity")).unwrap();
        let text = r#"{"version":1,"deviceId":"c344","publicKeyPem":"P","privateKeyPem":"secret","createdAtMs":1}"#;
        fs::write(&path, text).unwrap();
        assert_eq!(
            own_device(state.path()).unwrap(),
            Some(DeviceId::new("c344"))
        );
        for damaged in [
            "{",
            "[]",
            r#"{"privateKeyPem":"secret"}"#,
            r#"{"deviceId":["secret"]}"#,
        ] {
            fs::write(&path, damaged).unwrap();
            let error = own_device(state.path()).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_primary_row_of_2026_8_2_and_later_names_the_device() {
        let mut gateway = Gateway::start();
        assert_eq!(
            own_device(gateway.state()).unwrap(),
            None,
            "an older database has no such table"
        );
        gateway.commit(SCHEMA);
        assert_eq!(own_device(gateway.state()).unwrap(), None);
        gateway.commit("INSERT INTO device_identities VALUES ('other', 'x', 'P', 'secret', 1, 1)");
        gateway.commit(
            "INSERT INTO device_identities VALUES ('primary', 'd87e', 'P', 'secret', 1, 1)",
        );
        assert_eq!(
            own_device(gateway.state()).unwrap(),
            Some(DeviceId::new("d87e"))
        );
    }
}
