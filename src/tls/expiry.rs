//! When a certificate ends.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::config::{Finding, Warning};

/// When a certificate ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expiry(SystemTime);

impl Expiry {
    /// The end of a certificate in DER form; `None` where it is no certificate.
    pub(super) fn of(certificate: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let seconds = certificate.validity().not_after.timestamp();
        // One that ended before 1970 has ended.
        let seconds = u64::try_from(seconds).unwrap_or_default();
        Some(Self(UNIX_EPOCH + Duration::from_secs(seconds)))
    }

    /// The moment.
    #[must_use]
    pub const fn at(self) -> SystemTime {
        self.0
    }

    /// How long it is until then; `None` where it is over.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0.duration_since(SystemTime::now()).ok()
    }

    /// What an operator should know, from two weeks before.
    pub(super) fn finding(self, file: &Path) -> Option<Finding> {
        let file = file.display();
        let message = match self.left() {
            Some(left) if left >= SOON => return None,
            Some(left) => format!("the certificate {file} ends in {}", days(left)),
            None => {
                let ago = SystemTime::now().duration_since(self.0).unwrap_or_default();
                format!("the certificate {file} has ended {} ago", days(ago))
            }
        };
        let fix = "renew it; the shim takes the new files as soon as they are there";
        Some(Finding::new(Warning::TlsCertificateEnds, message, fix))
    }
}

fn days(duration: Duration) -> String {
    match duration.as_secs() / DAY.as_secs() {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// From when on an operator is told: certbot renews a month before, so that two weeks mean that it does not.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]
mod tests {
    use super::*;

    /// What is said of a certificate that ends so many hours from now.
    fn said(hours: i64) -> Option<String> {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let hour = Duration::from_secs(60 * 60);
        let away = hour * u32::try_from(hours.unsigned_abs()).unwrap();
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = match hours {
            ..0 => epoch + now - away,
            _ => epoch + now + away,
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let expiry = Expiry::of(certificate.der()).unwrap();
        Some(expiry.finding(Path::new("c.pem"))?.message)
    }

    #[test]
    fn an_operator_is_told_two_weeks_before() {
        let ends = |when: &str| Some(format!("the certificate c.pem {when}"));
        assert_eq!(said(15 * 24), None);
        assert_eq!(said(14 * 24 - 1), ends("ends in 13 days"));
        assert_eq!(said(25), ends("ends in 1 day"));
        assert_eq!(said(2), ends("ends in less than a day"));
        assert_eq!(said(-50), ends("has ended 2 days ago"));
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        assert_eq!(Expiry::of(b"no certificate"), None);
    }
}
