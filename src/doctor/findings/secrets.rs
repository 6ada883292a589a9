//! F7: the shared secret, compared place by place and never shown.

use super::Finding;
use crate::doctor::look::Look;
use crate::findings::Code;
use crate::gateway::{Place, Reader};

pub(super) fn findings(look: &Look) -> Vec<Finding> {
    let drift = drift(&look.secrets);
    drift.or_else(|| outdated(look)).into_iter().collect()
}

/// All places hold the same, and the gateway that runs does not: it reads them at its start.
fn outdated(look: &Look) -> Option<Finding> {
    let why = look.shim.running.as_ref()?.why.as_ref()?;
    let is_refused = ["token mismatch", "password mismatch"]
        .iter()
        .any(|words| why.contains(words));
    if !is_refused || look.secrets.is_empty() {
        return None;
    }
    let finding = Finding::new(Code::SecretDrift, "the gateway that runs")
        .seen(format!("the shim that runs has no session with it: {why}"))
        .seen("every place that is read here holds the same secret");
    Some(finding.fix("restart the gateway: openclaw gateway restart"))
}

/// Where the gateway takes its secret from: its process says it if it can be asked; else its file before any variable,
/// unlike its command line, which takes the variable first.
fn drift(places: &[Place]) -> Option<Finding> {
    let first = places.first()?;
    let differs = |place: &&Place| !place.secret.matches(first.secret.reveal());
    if !places.iter().any(|place| differs(&place)) {
        return None;
    }
    let authority = authority(places)?;
    let finding = Finding::new(Code::SecretDrift, &authority.name);
    let mut finding = finding.seen(format!("the gateway takes it from {}", authority.name));
    for place in places.iter().filter(|place| place.name != authority.name) {
        let same = place.secret.matches(authority.secret.reveal());
        let says = if same {
            "holds the same"
        } else {
            "HOLDS ANOTHER"
        };
        finding = finding.seen(format!("{} {says}; {}", place.name, used_by(place.reader)));
    }
    let wrong = places
        .iter()
        .filter(|place| !place.secret.matches(authority.secret.reveal()));
    let fixes: Vec<String> = wrong.map(fix).collect();
    Some(finding.fix(fixes.join("; ")))
}

fn authority(places: &[Place]) -> Option<&Place> {
    let in_file =
        |place: &&Place| place.reader == Reader::Both && place.name.starts_with("gateway.auth.");
    let by = |reader: Reader| places.iter().find(move |place| place.reader == reader);
    places
        .iter()
        .find(in_file)
        .or_else(|| by(Reader::Running))
        .or_else(|| by(Reader::Service))
        .or_else(|| by(Reader::Both))
        .or_else(|| places.first())
}

const fn used_by(reader: Reader) -> &'static str {
    match reader {
        Reader::Both => "the command line here takes it first",
        Reader::Service => "a command line that the service starts takes it first",
        Reader::Running => "commands that the gateway starts take it first",
        Reader::RemoteCli => "the command line takes it for a gateway elsewhere",
        Reader::Shim => "the shim uses it",
    }
}

fn fix(place: &Place) -> String {
    match place.reader {
        Reader::Service => "openclaw gateway install --force, then restart the service".to_owned(),
        Reader::Running => "restart the gateway without another one in its environment".to_owned(),
        Reader::Shim => "take the shim's own setting away, or correct it".to_owned(),
        Reader::Both | Reader::RemoteCli => format!("correct or remove {}", place.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn place(name: &str, reader: Reader, secret: &str) -> Place {
        Place {
            name: name.to_owned(),
            reader,
            secret: Secret::new(secret),
        }
    }

    #[test]
    fn equal_secrets_are_no_drift() {
        let places = [
            place("gateway.auth.token in f", Reader::Both, "one"),
            place(
                "OPENCLAW_GATEWAY_TOKEN in this environment",
                Reader::Both,
                "one",
            ),
        ];
        assert_eq!(drift(&places), None);
        assert_eq!(drift(&[]), None);
    }

    #[test]
    fn each_place_is_named_and_no_secret_is() {
        let places = [
            place(
                "OPENCLAW_GATEWAY_TOKEN in this environment",
                Reader::Both,
                "s3cret-b",
            ),
            place("gateway.auth.token in f", Reader::Both, "s3cret-a"),
            place(
                "OPENCLAW_GATEWAY_TOKEN of the service u",
                Reader::Service,
                "s3cret-b",
            ),
            place("the shim's own setting (x)", Reader::Shim, "s3cret-a"),
        ];
        let finding = drift(&places);
        let shown = format!("{finding:?}");
        assert!(!shown.contains("s3cret"), "{shown}");
        let evidence =
            finding.map(|finding| (finding.subject, finding.evidence.len(), finding.fix));
        let fix = "correct or remove OPENCLAW_GATEWAY_TOKEN in this environment; openclaw gateway install --force, then \
                   restart the service";
        assert_eq!(
            evidence,
            Some(("gateway.auth.token in f".to_owned(), 4, fix.to_owned()))
        );
    }
}
